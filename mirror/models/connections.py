"""The MultiMail accounts that the desk is connected to, their mailboxes, and what they
sent.
"""

import secrets
from datetime import timedelta
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Case, F, Q, When
from django.db.models.functions import Coalesce, Greatest, Least, Now

from common.actors import Actor, Role
from common.encryption import EncryptedTextField
from common.grace import FAILING_AFTER, STALE_AFTER, STUCK_AFTER
from mirror.oversight_modes import AUTONOMOUS, modes_within
from upstream.capabilities import WORDS


def scoped(actor: Actor) -> tuple[list[int | None], list[int]]:
    """Return the connections and the mailboxes that the actor has roles for."""
    connections = [scope.connection for scope in actor.scopes if scope.mailbox is None]
    return connections, [
        scope.mailbox for scope in actor.scopes if scope.mailbox is not None
    ]


def is_rested(path: str = "") -> Q:
    """Whether the connection at the end of this path is not asked to wait by MultiMail
    (429).
    """
    return Q((f"{path}wait_until", None)) | Q((f"{path}wait_until__lte", Now()))


def is_well(path: str = "") -> Q:
    """Whether the connection at the end of this path can be asked now."""
    return is_rested(path) & Q(
        (f"{path}paused_at", None), (f"{path}failing_since", None)
    )


def _webhook_id() -> str:
    return secrets.token_urlsafe(24)


class ConnectionQuerySet(models.QuerySet["Connection"]):
    """Reads of the connected accounts."""

    def visible_to(self, actor: Actor) -> Self:
        """Only those that the actor has a role for, or for a mailbox of."""
        if actor.sees_all():
            return self
        connections, mailboxes = scoped(actor)
        return self.filter(
            Q(pk__in=connections) | Q(mailboxes__in=mailboxes)
        ).distinct()

    def at_work(self) -> Self:
        """All but removed ones, of which only history is left."""
        return self.filter(removed_at=None)

    def removed(self) -> Self:
        """Those that were removed from the desk."""
        return self.exclude(removed_at=None)

    def rested(self) -> Self:
        """All but the ones that MultiMail asked to wait."""
        return self.filter(is_rested())

    def to_read(self) -> Self:
        """Those to reconcile in each round: the healthy ones. The others are probed."""
        return self.at_work().filter(is_well())

    def overdue(self) -> Self:
        """Healthy ones not read for longer than a round: a task was lost."""
        never = Q(complete_as_of=None) | Q(
            complete_as_of__lt=Now() - timedelta(seconds=45)
        )
        return self.to_read().filter(
            never, Q(read_at=None) | Q(read_at__lt=Now() - timedelta(seconds=15))
        )

    def to_probe(self) -> Self:
        """Unhealthy ones that are due for a probe: after as long as the failure has
        lasted, at most a minute.

        Paused ones are probed at least every five minutes, in case the key works or was
        replaced, except those that a person paused.
        """
        most = Case(
            When(paused_at=None, then=timedelta(minutes=1)),
            default=timedelta(minutes=5),
        )
        been_so = Coalesce(
            F("read_at") - Least(F("failing_since"), F("paused_at")), timedelta(0)
        )
        wait = Greatest(
            timedelta(seconds=5),
            Least(been_so, most),
            output_field=models.DurationField(),
        )
        unwell = (
            self.at_work()
            .rested()
            .filter(paused_by_hand=False)
            .exclude(paused_at=None, failing_since=None)
        )
        unwell = unwell.annotate(wait=wait)
        # A time in the future is left from before the clock was set back.
        return unwell.filter(
            Q(read_at=None) | Q(read_at__lt=Now() - F("wait")) | Q(read_at__gt=Now())
        )

    def to_survey(self) -> Self:
        """Healthy ones whose MultiMail was not asked for a day what it can do."""
        return self.to_read().filter(
            Q(surveyed_at=None) | Q(surveyed_at__lt=Now() - timedelta(days=1))
        )

    def lacking_minimum(self, minimum: str) -> Self:
        """Our gateways that lack a minimum oversight mode, although there is a key to
        bring it there with.

        None where the minimum is empty.
        """
        if not minimum:
            return self.none()
        ours = self.at_work().filter(is_our_gateway=True).exclude(admin_key="")
        return ours.exclude(gate_minimum__in=modes_within(minimum))

    def with_unsigned(self) -> Self:
        """Those that got webhooks with a wrong signature in the last day, as of the
        last count.
        """
        return self.at_work().filter(unsigned_count__gt=0)

    def unwell(self) -> Self:
        """Those that are paused, fail for a while, or were not read for so long that
        the queue may lack messages.
        """
        failing = Q(failing_since__lt=Now() - FAILING_AFTER)
        unread = Q(complete_as_of=None, created_at__lt=Now() - STUCK_AFTER)
        old = Q(complete_as_of__lt=Now() - STALE_AFTER)
        return self.at_work().filter(~Q(paused_at=None) | failing | unread | old)


class Connection(models.Model):
    """A MultiMail account, hosted or our own gateway, with the keys that the desk holds
    for it.
    """

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=80)
    api_url = models.URLField()
    # Part of the webhook's address: nobody can post to it by guessing, and each
    # connection has its own secret.
    webhook_id = models.CharField(max_length=64, unique=True, default=_webhook_id)
    webhook_secret = EncryptedTextField()
    previous_webhook_secret = EncryptedTextField()
    # None with a previous secret: the change of secrets is unfinished, and both are
    # accepted.
    previous_secret_until = models.DateTimeField(null=True)
    oversight_key = EncryptedTextField()
    read_key = EncryptedTextField()
    admin_key = EncryptedTextField()
    agent_key = EncryptedTextField()
    # Our own gateway answers for one message by id and compares the fingerprint when it
    # decides.
    is_our_gateway = models.BooleanField(default=False)
    # As last read: whether the account requires a fingerprint of every decision,
    # whatever its mailboxes say.
    require_fingerprint = models.BooleanField(default=False, db_default=False)
    # The minimum oversight mode that our gateway had when it was last compared, and why
    # it could not be set there.
    gate_minimum = models.CharField(max_length=20, default="", db_default="")
    gate_minimum_error = models.TextField(default="", db_default="")
    gate_minimum_checked_at = models.DateTimeField(null=True)
    complete_as_of = models.DateTimeField(null=True)
    last_error = models.TextField()
    failing_since = models.DateTimeField(null=True)
    paused_at = models.DateTimeField(null=True)
    paused_because = models.TextField()
    # Paused by a person: only a person can resume it.
    paused_by_hand = models.BooleanField(default=False)
    # After a 429 the whole connection waits.
    wait_until = models.DateTimeField(null=True)
    # The lease of the whole read: one at a time, at most one a second.
    reading_until = models.DateTimeField(null=True)
    read_at = models.DateTimeField(null=True)
    # An approve of unknown outcome that is still held goes out again by itself, instead
    # of asking a person.
    repeats_unknown_approvals = models.BooleanField(default=False)
    # Short hash of the oversight key last found unable to send; each key is checked
    # once.
    checked_key = models.CharField(max_length=16)
    # What MultiMail last said that each key may do, by slot: {"oversight":
    # ["oversight"]}.
    key_scopes = models.JSONField(default=dict)
    # MultiMail's own id of the account, as its keys reported it; empty where none did.
    account_id = models.CharField(max_length=200)
    # The webhook that the desk registered there for itself.
    upstream_webhook_id = models.CharField(max_length=200)
    # How many webhooks with a wrong signature came in the last day, and since when
    # there are any.
    unsigned_count = models.PositiveIntegerField(default=0, db_default=0)
    unsigned_since = models.DateTimeField(null=True)
    # Optional fields of calls that MultiMail refused here with 422; they are left out.
    refused_fields = ArrayField(models.CharField(max_length=40), default=list)
    # Whether MultiMail can do these things here, as reads last showed: {"contacts":
    # true}; and when it was asked.
    capabilities = models.JSONField(
        default=dict, db_default=models.Value({}, models.JSONField())
    )
    surveyed_at = models.DateTimeField(null=True)
    # Removed: without keys and secrets, never called again; its history stays.
    removed_at = models.DateTimeField(null=True)
    # When its contacts were last read.
    contacts_read_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = ConnectionQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name

    @property
    def lacks(self) -> list[str]:
        """What MultiMail cannot do here, or not with these keys, in words; whether it
        is our gateway is said apart.
        """
        return [
            WORDS[name][0]
            for name in WORDS
            if self.capabilities.get(name) is False and name != "gateway"
        ]


class MailboxQuerySet(models.QuerySet["Mailbox"]):
    """Reads of mailboxes."""

    def at_work(self) -> Self:
        """All but those of connections that were removed."""
        return self.filter(connection__removed_at=None)

    def visible_to(self, actor: Actor) -> Self:
        """Only those that the actor has a role for, on the mailbox or its connection."""
        if actor.sees_all():
            return self
        connections, mailboxes = scoped(actor)
        return self.filter(Q(connection__in=connections) | Q(pk__in=mailboxes))

    def active(self) -> Self:
        """Those that MultiMail still has, by their addresses."""
        return self.filter(is_active=True).order_by("address", "pk")

    def below_minimum(self, minimum: str) -> Self:
        """Those that people can look after, and that are looser than this minimum; none
        where it is empty.

        As `mirror.oversight_modes.is_below` says it, in SQL.
        """
        if not minimum:
            return self.none()
        below = ~Q(oversight_mode__in=modes_within(minimum))
        if minimum != AUTONOMOUS:
            below |= Q(allow_looser_per_call=True) & ~Q(oversight_mode="read_only")
        ranked = self.at_work().filter(is_active=True).exclude(oversight_mode="")
        return ranked.filter(below)

    def known_as(self, upstream_id: str) -> "Mailbox | None":
        """Return the one of this id at MultiMail."""
        return self.filter(upstream_id=upstream_id).first()

    def held_in_each(self) -> dict[int, int]:
        """Return how many messages are held in each, by its key; those without any are
        left out.
        """
        return dict(
            self.filter(messages__state="held")
            .order_by("pk")
            .annotate(held=models.Count("messages"))
            .values_list("pk", "held")
        )

    def addresses_in(self, connection: int) -> list[str]:
        """Return the addresses of a connection's mailboxes, as far as they are known."""
        return list(
            self.filter(connection=connection)
            .exclude(address="")
            .values_list("address", flat=True)
        )


class Mailbox(models.Model):
    """A mailbox of a connection, as mirrored, with what the desk adds."""

    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="mailboxes"
    )
    upstream_id = models.CharField(max_length=200)
    address = models.CharField(max_length=320)
    display_name = models.CharField(max_length=200)
    oversight_mode = models.CharField(max_length=20)
    # As last read from MultiMail; empty until then.
    auto_cc = models.JSONField(default=list)
    auto_bcc = models.JSONField(default=list)
    signature_block = models.CharField(max_length=200)
    # Whether our gateway adds a postal address and a link to unsubscribe.
    commercial = models.BooleanField(default=False, db_default=False)
    forward_inbound = models.BooleanField(default=False)
    allow_looser_per_call = models.BooleanField(default=False)
    # Whether decisions about its mail have to name the fingerprint of what was read
    # (our gateway).
    require_fingerprint = models.BooleanField(default=False, db_default=False)
    scheduling_enabled = models.BooleanField(default=True)
    default_gate_timing = models.CharField(max_length=20)
    is_active = models.BooleanField(default=True)
    mirrored_at = models.DateTimeField(null=True)
    undo_window = models.DurationField(default=timedelta(seconds=5))
    expire_after = models.DurationField(null=True)
    # Whether who edited a message may be the one who approves it.
    editor_may_approve = models.BooleanField(default=False, db_default=False)
    # Whether people may have the remote pictures of its messages fetched, one message
    # at a time.
    loads_pictures = models.BooleanField(default=False, db_default=False)

    objects = MailboxQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "upstream_id"], name="mailbox_once"
            )
        ]

    def __str__(self) -> str:
        return self.address or self.upstream_id

    def is_administered_by(self, actor: Actor) -> bool:
        """Whether the actor is an admin of it."""
        return actor.is_a(Role.ADMIN, connection=self.connection_id, mailbox=self.pk)

    @property
    def short_name(self) -> str:
        """The part before the @, as shown on a chip."""
        return str(self).partition("@")[0]


class SuppressedAddress(models.Model):
    """A suppressed address at MultiMail, as last read."""

    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="suppressed"
    )
    # The bare address in lower case.
    address = models.CharField(max_length=320)
    reason = models.CharField(max_length=60)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "address"], name="suppressed_once"
            )
        ]


class KnownContact(models.Model):
    """An address among the contacts of the account, as the desk last read them; only
    the list mode `contacts` asks.
    """

    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="contacts"
    )
    # In the form that allowlists compare.
    address = models.CharField(max_length=320)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "address"], name="known_contact_once"
            )
        ]


def may_set(actor: Actor, mailbox: Mailbox | None) -> bool:
    """Whether the actor is an admin of this mailbox; without one, of everything."""
    return (
        actor.is_admin_of_all if mailbox is None else mailbox.is_administered_by(actor)
    )
