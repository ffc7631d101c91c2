"""The tables of the MultiMail accounts that the desk is connected to, with their
mailboxes, suppressed addresses and contacts.
"""

import secrets
from datetime import timedelta
from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Case, F, Q, When
from django.db.models.functions import Coalesce, Greatest, Least, Now

from common.actors import Actor, Role
from common.encryption import EncryptedTextField
from common.grace import FAILING_AFTER, STALE_AFTER, STUCK_AFTER
from upstream.capabilities import WORDS

# How often the list of held messages is read. If reading it whole takes long, it is
# read whole for one of SHARE parts of the time at most.
ROUND = timedelta(seconds=30)
SHARE = 4


def scoped(actor: Actor) -> tuple[list[int | None], list[int]]:
    """Return two lists of keys: the connections, and the mailboxes, for which the actor
    has a role.
    """
    connections = [scope.connection for scope in actor.scopes if not scope.mailbox]
    return connections, [scope.mailbox for scope in actor.scopes if scope.mailbox]


def is_older(field: str, age: Any) -> Q:
    """Return a condition: the time in this field is longer ago than `age`, or empty."""
    return Q((field, None)) | Q((f"{field}__lt", Now() - age))


def is_rested(path: str = "") -> Q:
    """Return a condition: the connection at the end of this path, such as
    "message__connection__", need not wait because of a 429 of MultiMail.
    """
    return Q((f"{path}wait_until", None)) | Q((f"{path}wait_until__lte", Now()))


def is_well(path: str = "") -> Q:
    """Return a condition: the connection at the end of this path can be asked now."""
    return is_rested(path) & Q(
        (f"{path}paused_at", None), (f"{path}failing_since", None)
    )


def takes_policy(path: str = "") -> Q:
    """Return a condition: the connection at the end of this path can be told what the
    policy asks, also while a person paused it: a pause makes no gate looser.
    """
    paused = Q((f"{path}paused_at", None)) | Q((f"{path}paused_by_hand", True))
    return is_rested(path) & paused


def _webhook_id() -> str:
    return secrets.token_urlsafe(24)


class ConnectionQuerySet(models.QuerySet["Connection"]):
    """Queries of connections."""

    def visible_to(self, actor: Actor) -> Self:
        """Connections for which the actor has a role, or for a mailbox of them."""
        if actor.sees_all():
            return self
        connections, mailboxes = scoped(actor)
        return self.filter(
            Q(pk__in=connections) | Q(mailboxes__in=mailboxes)
        ).distinct()

    def at_work(self) -> Self:
        """Connections that were not removed."""
        return self.filter(removed_at=None)

    def removed(self) -> Self:
        """Connections that were removed, of which only the history is left."""
        return self.exclude(removed_at=None)

    def rested(self) -> Self:
        """Connections that MultiMail did not ask to wait."""
        return self.filter(is_rested())

    def to_read(self) -> Self:
        """Healthy connections, which are read in each round. The others are probed."""
        return self.at_work().filter(is_well())

    def overdue(self) -> Self:
        """Healthy connections that missed a round of reads, because a task was lost."""
        return self.to_read().filter(
            is_older("complete_as_of", timedelta(seconds=45)),
            is_older("read_at", timedelta(seconds=15)),
        )

    def to_probe(self) -> Self:
        """Failing and paused connections that are due for a probe. A probe comes after
        as long as the failure has lasted, but after a minute at most.

        A paused connection is probed at least every five minutes, because its key may
        work again or was replaced; but not if a person paused it.
        """
        longest = Case(
            When(paused_at=None, then=timedelta(minutes=1)),
            default=timedelta(minutes=5),
        )
        lasted = Coalesce(
            F("read_at") - Least(F("failing_since"), F("paused_at")), timedelta(0)
        )
        wait = Greatest(
            timedelta(seconds=5),
            Least(lasted, longest),
            output_field=models.DurationField(),
        )
        unwell = (
            self.at_work()
            .rested()
            .filter(paused_by_hand=False)
            .exclude(paused_at=None, failing_since=None)
            .annotate(wait=wait)
        )
        # A last read in the future means that the clock was set back since.
        return unwell.filter(is_older("read_at", F("wait")) | Q(read_at__gt=Now()))

    def to_survey(self) -> Self:
        """Healthy connections of which MultiMail was not asked for a day what it can do."""
        return self.to_read().filter(is_older("surveyed_at", timedelta(days=1)))

    def with_unsigned(self) -> Self:
        """Connections that got webhooks with a wrong signature within a day, by the
        last count.
        """
        return self.at_work().filter(unsigned_count__gt=0)

    def unwell(self) -> Self:
        """Connections that are paused, have been failing for a while, or were not read
        for so long that messages may be missing from the queue.
        """
        failing = Q(failing_since__lt=Now() - FAILING_AFTER)
        unread = Q(complete_as_of=None, created_at__lt=Now() - STUCK_AFTER)
        # The first read of a long list may take long.
        unread &= Q(whole_read_count=0) | is_older("read_at", STUCK_AFTER)
        slack = models.ExpressionWrapper(
            F("whole_read_took") * (SHARE + 2), models.DurationField()
        )
        old = Q(complete_as_of__lt=Now() - STALE_AFTER - slack)
        return self.at_work().filter(~Q(paused_at=None) | failing | unread | old)


class Connection(models.Model):
    """A MultiMail account, hosted or our own gateway, with the keys that the desk holds
    for it.
    """

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=80)
    api_url = models.URLField()
    # A part of the address to which MultiMail sends this connection's webhooks, which
    # nobody can guess.
    webhook_id = models.CharField(max_length=64, unique=True, default=_webhook_id)
    webhook_secret = EncryptedTextField()
    previous_webhook_secret = EncryptedTextField()
    # Until when the previous secret is accepted too. None while there is a previous
    # secret means that the change of secrets is not finished: both are accepted.
    previous_secret_until = models.DateTimeField(null=True)
    oversight_key = EncryptedTextField()
    read_key = EncryptedTextField()
    admin_key = EncryptedTextField()
    agent_key = EncryptedTextField()
    # Whether this is our own gateway: only that answers about one message by its id,
    # and compares the fingerprint when it decides.
    is_our_gateway = models.BooleanField(default=False)
    # Whether, when last read, the account required a fingerprint with every decision,
    # whatever its mailboxes require.
    require_fingerprint = models.BooleanField(default=False, db_default=False)
    # Whether our own gateway was told that a kill switch stops a mailbox of it.
    is_gate_stopped = models.BooleanField(default=False, db_default=False)
    # The minimum oversight mode that our gateway had when it was last compared with the
    # policy's; why it could not be set there; and when that was.
    gate_minimum = models.CharField(max_length=20, default="", db_default="")
    gate_minimum_error = models.TextField(default="", db_default="")
    gate_minimum_checked_at = models.DateTimeField(null=True)
    # The ids of the mail that our gateway refused and that was read last, newest first.
    refusals_read = models.JSONField(default=list)
    # When the last complete read of the held messages began that worked.
    complete_as_of = models.DateTimeField(null=True)
    last_error = models.TextField()
    failing_since = models.DateTimeField(null=True)
    paused_at = models.DateTimeField(null=True)
    paused_because = models.TextField()
    # Paused by a person: only a person can resume it.
    paused_by_hand = models.BooleanField(default=False)
    # Until when MultiMail asked the connection to wait (429).
    wait_until = models.DateTimeField(null=True)
    # When the whole read that is under way began: over many pages, it takes several
    # runs. How many messages it has read so far, of about how many (0: not known).
    whole_read_began = models.DateTimeField(null=True)
    whole_read_count = models.PositiveIntegerField(default=0, db_default=0)
    whole_read_total = models.PositiveIntegerField(default=0, db_default=0)
    # The number of the page at which a whole read failed; None after a complete one.
    failed_page = models.PositiveIntegerField(null=True)
    # For how long the whole read that is under way was worked on, and how many rows it
    # asks for with each page.
    whole_read_spent = models.DurationField(
        default=timedelta(0), db_default=timedelta(0)
    )
    page_limit = models.PositiveIntegerField(default=100, db_default=100)
    # For how long the last whole read was worked on, and when the next one may begin;
    # until then only the ends of the list are read.
    whole_read_took = models.DurationField(
        default=timedelta(0), db_default=timedelta(0)
    )
    rest_until = models.DateTimeField(null=True)
    # The lease of a run of a whole read, so that only one runs at a time.
    reading_until = models.DateTimeField(null=True)
    # When a page was last asked for; a list is begun at most once a second.
    read_at = models.DateTimeField(null=True)
    # Whether an approval with an unknown outcome is sent again automatically if its
    # message is still held, instead of asking a person.
    repeats_unknown_approvals = models.BooleanField(default=False)
    # A short hash of the oversight key that was checked: it cannot send mail. Each key
    # is checked once.
    checked_key = models.CharField(max_length=16)
    # By connection slot, what MultiMail last said that the key may do:
    # {"oversight": ["oversight"]}.
    key_scopes = models.JSONField(default=dict)
    # MultiMail's id of the account, as a key reported it; empty if none did.
    account_id = models.CharField(max_length=200)
    # MultiMail's id of the webhook that the desk registered there.
    upstream_webhook_id = models.CharField(max_length=200)
    # Since when MultiMail should call the webhook; None if it may not be registered.
    webhook_since = models.DateTimeField(null=True)
    # How many webhooks with a wrong signature came within a day, and since when there
    # are any.
    unsigned_count = models.PositiveIntegerField(default=0, db_default=0)
    unsigned_since = models.DateTimeField(null=True)
    # Optional fields of calls that MultiMail refused with 422; the desk leaves them
    # out.
    refused_fields = ArrayField(models.CharField(max_length=40), default=list)
    # What MultiMail can and cannot do here, as last seen: {"contacts": true}; and when
    # it was last asked.
    capabilities = models.JSONField(
        default=dict, db_default=models.Value({}, models.JSONField())
    )
    surveyed_at = models.DateTimeField(null=True)
    # The doors outside this desk that were open then, by the kinds of them that could
    # be read (upstream.capabilities.DOORS): {"keys": ["Second desk"]}.
    doors = models.JSONField(
        default=dict, db_default=models.Value({}, models.JSONField())
    )
    # When it was removed. A removed connection has no keys and is never called; its
    # history stays.
    removed_at = models.DateTimeField(null=True)
    # When its contacts were last read.
    contacts_read_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = ConnectionQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name

    @property
    def row(self) -> ConnectionQuerySet:
        """This row alone, for updates that compare or that use the database's clock."""
        return Connection.objects.filter(pk=self.pk)

    @property
    def keys(self) -> dict[str, str]:
        """The desk's own keys to the account by their slots; an empty slot has an empty
        string.
        """
        slots = ("oversight", "read", "admin", "agent")
        return {slot: getattr(self, f"{slot}_key") for slot in slots}

    @property
    def is_being_read(self) -> bool:
        """Whether a whole read is under way that has read some messages."""
        return self.whole_read_began is not None and self.whole_read_count > 0

    @property
    def slack(self) -> timedelta:
        """How much older its last complete read may be because its list is long."""
        return self.whole_read_took * (SHARE + 2)

    @property
    def lacks(self) -> list[str]:
        """What MultiMail cannot do here, or not with these keys, in words. That it is
        not our gateway is not among them: pages say that elsewhere.
        """
        return [
            WORDS[name][0]
            for name in WORDS
            if self.capabilities.get(name) is False and name != "gateway"
        ]


class MailboxQuerySet(models.QuerySet["Mailbox"]):
    """Queries of mailboxes."""

    def at_work(self) -> Self:
        """Mailboxes of connections that were not removed."""
        return self.filter(connection__removed_at=None)

    def visible_to(self, actor: Actor) -> Self:
        """Mailboxes for which the actor has a role, or for their connection."""
        if actor.sees_all():
            return self
        connections, mailboxes = scoped(actor)
        return self.filter(Q(connection__in=connections) | Q(pk__in=mailboxes))

    def active(self) -> Self:
        """Mailboxes that MultiMail still has, ordered by address."""
        return self.filter(is_active=True).order_by("address", "pk")

    def known_as(self, upstream_id: str) -> "Mailbox | None":
        """Return the mailbox with this id at MultiMail."""
        return self.filter(upstream_id=upstream_id).first()

    def held_in_each(self) -> dict[int, int]:
        """Return by a mailbox's key how many messages are held in it. Mailboxes without
        any are left out.
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
    """A mailbox of a connection: what MultiMail says of it, and the desk's settings."""

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
    # Whether our gateway sends HTML as its author wrote it, not in its simple form.
    send_as_designed = models.BooleanField(default=False, db_default=False)
    forward_inbound = models.BooleanField(default=False)
    allow_looser_per_call = models.BooleanField(default=False)
    # Whether our gateway accepts a decision about its mail only with the fingerprint of
    # what was read.
    require_fingerprint = models.BooleanField(default=False, db_default=False)
    scheduling_enabled = models.BooleanField(default=True)
    default_gate_timing = models.CharField(max_length=20)
    is_active = models.BooleanField(default=True)
    # When it was last read from MultiMail.
    mirrored_at = models.DateTimeField(null=True)
    # The desk's own settings. The first is how long a decision can be undone.
    undo_window = models.DurationField(default=timedelta(seconds=5))
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
        """Whether the actor is an admin of this mailbox."""
        return actor.is_a(Role.ADMIN, connection=self.connection_id, mailbox=self.pk)

    @property
    def short_name(self) -> str:
        """The part before the @, as shown on a chip."""
        return str(self).partition("@")[0]


class ScopeModel(models.Model):
    """A row that is for one connection or one mailbox; without either, for
    everything.
    """

    connection = models.ForeignKey(Connection, null=True, on_delete=models.CASCADE)
    mailbox = models.ForeignKey(Mailbox, null=True, on_delete=models.CASCADE)

    class Meta:
        abstract = True


class SuppressedAddress(models.Model):
    """An address that MultiMail sends nothing to any more, as last read."""

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
    """An address among the account's contacts at MultiMail, as last read. Only the mode
    `contacts` of allowlists uses it.
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
    """Whether the actor is an admin of this mailbox; or of everything, if it is None."""
    return mailbox.is_administered_by(actor) if mailbox else actor.is_admin_of_all
