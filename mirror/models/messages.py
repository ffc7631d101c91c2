"""The mirror of what MultiMail holds. Rules live in the commands, not here."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property, reduce
from operator import or_
from typing import Any, Self, TypeVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import Case, F, Q, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from common.actors import Actor
from common.fingerprint import short_fingerprint
from common.grace import STUCK_AFTER, WORD_AFTER
from common.identifiers import uuid7
from common.words import BY, CONTENT, TO
from mirror.models.connections import Connection, Mailbox, is_well, scoped
from mirror.states import MessageState
from mirror.terms import DONE, ENDS, FETCH_TRIES, LATELY, ON_ITS_WAY

_Row = TypeVar("_Row", bound=models.Model)

_SECRETS = (
    "connection__webhook_secret",
    "connection__previous_webhook_secret",
    "connection__oversight_key",
    "connection__read_key",
    "connection__admin_key",
    "connection__agent_key",
)


def visible_condition(actor: Actor) -> Q:
    """Return the condition that limits a query to the mailboxes that the actor may see,
    by any role.
    """
    if actor.sees_all():
        return Q()
    # Matches nothing, for an actor without roles. `none()` would not do: Django
    # composes no SQL for a query that it knows to be empty, and some statements are
    # built from that SQL.
    nothing = Q(pk__lt=0)
    connections, mailboxes = scoped(actor)
    return nothing | Q(connection__in=connections) | Q(mailbox__in=mailboxes)


def is_of_threads(field: str, messages: "Sequence[Message]") -> Q:
    """Return the condition of rows that belong to the threads of these messages, whose
    ids are in `field`.
    """
    keys = {
        (one.mailbox_id, one.thread_id)
        for one in messages
        if one.thread_id and one.mailbox_id
    }
    return reduce(
        or_,
        (Q(("mailbox", mailbox), (field, thread)) for mailbox, thread in keys),
        Q(pk__in=()),
    )


# What a sender says by these names of who or what started a message: each act on the
# message is found by it.
NAMED = (
    "discord_user",
    "discord_user_id",
    "discord_channel",
    "discord_channel_id",
    "discord_guild",
    "discord_interaction_id",
    "run_id",
    "runId",
)


def readable_values(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts and numbers of what a sender said, as texts."""
    return {
        name: str(value)[:500]
        for name, value in metadata.items()
        if isinstance(value, str | int) and not isinstance(value, bool)
    }


# Its recipients have been written to. A constant of this file: indexes are made from
# it.
_LEFT = ("approved", "sent", "delivered")


class MessageQuerySet(models.QuerySet["Message"]):
    """Reads of messages."""

    def real(self) -> Self:
        """Those that are at MultiMail, without what exists at this desk alone."""
        return self.filter(is_local=False)

    def really_sent_since(self, since: datetime) -> Self:
        """Outbound mail that was held or reported since then and read, without tests
        (relies on message_changed).
        """
        return self.held_since(since).exclude(direction="inbound")

    def held_since(self, since: datetime) -> Self:
        """Mail that was held or reported since then and read, without tests (relies on
        message_changed).
        """
        # What was held since then changed since then; only when it last changed has an
        # index of all.
        return self.real().filter(
            changed_at__gte=since,
            held_at__gte=since,
            sandbox=False,
            revision__isnull=False,
        )

    def at(self, connection: int | None, mailbox: int | None) -> Self:
        """Those of one mailbox or connection; all where neither is given."""
        if mailbox is not None:
            return self.filter(mailbox=mailbox)
        return self.filter(connection=connection) if connection is not None else self

    def to_count(self) -> Self:
        """Those whose hits are still to be counted, oldest first (relies on
        message_to_count).
        """
        found = self.real().filter(
            hits_counted_at=None, hydrated_at__isnull=False, revision__isnull=False
        )
        return found.order_by("pk")

    def visible_to(self, actor: Actor) -> Self:
        """Only messages that the actor may see."""
        return self.filter(visible_condition(actor))

    def failed(self) -> Self:
        """Approved, and it did not reach the recipient."""
        return self.filter(state__in=(MessageState.FAILED, MessageState.BOUNCED))

    def decided(self) -> Self:
        """Messages no longer held, including those that never were."""
        return self.filter(state__in=DONE)

    def oldest_first(self) -> Self:
        return self.order_by("held_at", "pk")

    def with_content(self) -> Self:
        """With the current version and the mailbox."""
        return self.select_related("revision", "mailbox")

    def with_connection(self) -> Self:
        """With the connection, but not its keys: each takes time to decrypt."""
        return self.select_related("connection").defer(*_SECRETS)

    def not_hydrated(self) -> Self:
        """Held, and the content has not been fetched yet."""
        return self.real().filter(state=MessageState.HELD, hydrated_at=None)

    def to_hydrate(self) -> Self:
        """Those whose connection can be asked for it, and that were not given up."""
        return self.not_hydrated().filter(
            is_well("connection__"), fetch_tries__lt=FETCH_TRIES
        )

    def unfetchable(self) -> Self:
        """Held, with content given up after several tries (message_unfetchable)."""
        return self.filter(state=MessageState.HELD, fetch_tries__gte=FETCH_TRIES)

    def to_ask_about(self) -> Self:
        """Those whose next event is late, and that MultiMail can be asked about.

        After a minute, 5 minutes, half an hour, then every 6 hours for a month. Sent
        mail is asked about only three times within an hour, because many mail servers
        never report delivery; so are decided messages without a known subject. That
        hour bounds how much of message_changed is read; other states use
        message_on_its_way.
        """
        first = Q(asked_at=None) | Q(asked_at__lt=F("changed_at"))
        again = Q(asked_at__lt=Now() - timedelta(hours=6))
        for since, wait in ((3, 5), (30, 30)):
            was_asked_soon = Q(asked_at__lt=F("changed_at") + timedelta(minutes=since))
            waited = Q(asked_at__lt=Now() - timedelta(minutes=wait))
            again |= was_asked_soon & waited
        unnamed = Q(state__in=DONE, hydrated_at=None, subject="")
        left = Q(state=MessageState.SENT) | unnamed
        left &= Q(changed_at__gt=Now() - timedelta(hours=1))
        left &= first | Q(asked_at__lt=F("changed_at") + timedelta(minutes=30))
        waits = Q(state__in=ON_ITS_WAY, changed_at__gt=Now() - timedelta(days=30))
        can_be_asked = Q(connection__is_our_gateway=True) | Q(
            direction="outbound"
        ) & ~Q(connection__read_key="")
        found = self.real().filter(left | waits, first | again, can_be_asked)
        found = found.filter(changed_at__lt=Now() - timedelta(minutes=1))
        # Sent mail comes last.
        has_left = Case(When(state=MessageState.SENT, then=1), default=0)
        return found.filter(is_well("connection__")).order_by(has_left, "changed_at")

    def changed_since(self, at: datetime | Combinable) -> Self:
        """Those that something happened to at that time or later."""
        return self.filter(changed_at__gte=at)

    def long_unread(self) -> Self:
        """Held for a while, and nobody can read them because their content has not come
        (message_to_hydrate).
        """
        return self.not_hydrated().filter(
            held_at__lt=Now() - STUCK_AFTER, fetch_tries__lt=FETCH_TRIES
        )

    def known_as(self, *, connection: int, upstream_id: str) -> Self:
        """The one of this id at MultiMail."""
        return self.filter(connection=connection, upstream_id=upstream_id)

    def come_or_left(self, states: Collection[str]) -> Self:
        """Those in one of these states, and received mail that is held: it has come all
        the same.
        """
        return self.filter(
            Q(state__in=states) | Q(direction="inbound", state=MessageState.HELD)
        )

    def in_thread(self, mailbox: int, thread_id: str) -> Self:
        """Those of one conversation of one mailbox (relies on the partial index
        message_thread).
        """
        return self.filter(mailbox=mailbox, thread_id=thread_id).exclude(thread_id="")

    def in_threads_of(self, messages: "Sequence[Message]") -> Self:
        """Those of the conversations that these belong to, without their texts
        (message_thread).
        """
        return self.filter(is_of_threads("thread_id", messages)).exclude(thread_id="")

    def expiry_to_tell(self) -> Self:
        """Held at our gateway, which does not know their expiry yet
        (message_expiry_to_tell).
        """
        unknown = Q(gate_expires_at=None) | ~Q(gate_expires_at=F("expires_at"))
        found = self.real().filter(
            unknown, state=MessageState.HELD, expires_at__isnull=False
        )
        return found.filter(is_well("connection__"), connection__is_our_gateway=True)

    def overdue(self) -> Self:
        """Held and expired for a while, although the expiry rule should have rejected
        them.
        """
        return self.real().filter(
            state=MessageState.HELD, expires_at__lt=Now() - STUCK_AFTER
        )

    def without_word(self) -> Self:
        """Recently approved, but not just now, without a report of MultiMail since
        (message_on_its_way).
        """
        return self.filter(
            state=MessageState.APPROVED,
            changed_at__lt=Now() - WORD_AFTER,
            changed_at__gt=Now() - LATELY,
        )

    def reported_unconfirmed(self) -> Self:
        """Those of which a webhook reported what no read has confirmed or refuted yet
        (message_reported).
        """
        return self.exclude(reported="")

    def reported_and_ended(self) -> Self:
        """Those of them that are not held and were not asked about in the last minute
        (message_reported).
        """
        waits = (
            self.reported_unconfirmed()
            .exclude(state=MessageState.HELD)
            .filter(connection__removed_at=None)
        )
        return waits.filter(
            Q(asked_at=None) | Q(asked_at__lt=Now() - timedelta(minutes=1))
        )


_Manager = models.Manager.from_queryset(MessageQuerySet)


class MessageManager(_Manager):  # type: ignore[type-arg]
    """Leaves out the search vector, which only the database reads: it may be larger than
    all the rest.
    """

    def get_queryset(self) -> MessageQuerySet:
        """Return all messages without the search vector."""
        return super().get_queryset().defer("search")  # type: ignore[return-value]


class Message(models.Model):
    """A message as MultiMail has it. `state` is derived from events; `upstream_status`
    is stored unchanged.
    """

    public_id = models.UUIDField(unique=True, default=uuid7, editable=False)
    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="messages"
    )
    mailbox = models.ForeignKey(
        Mailbox, null=True, on_delete=models.SET_NULL, related_name="messages"
    )
    upstream_id = models.CharField(max_length=200)
    direction = models.CharField(max_length=10, default="outbound")
    thread_id = models.CharField(max_length=200)
    upstream_status = models.CharField(max_length=64)
    state = models.CharField(max_length=20, choices=MessageState)
    sandbox = models.BooleanField(default=False)
    # It exists at this desk alone (`approvals.local_messages`). MultiMail is never
    # asked about it, and a trigger keeps decisions off it.
    is_local = models.BooleanField(default=False, db_default=False, editable=False)
    sender = models.CharField(max_length=1000)
    recipients = models.JSONField(default=list)
    subject = models.TextField()
    trigger = models.JSONField(default=dict)
    sent_by_key = models.CharField(max_length=200)
    sent_by_key_name = models.CharField(max_length=200)
    trace = models.CharField(max_length=64)
    held_at = models.DateTimeField()
    hydrated_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    # The expiry that our gateway was last told.
    gate_expires_at = models.DateTimeField(null=True)
    # When MultiMail was last seen to hold it; an older read that lacks it must not
    # close it.
    seen_at = models.DateTimeField(db_default=Now())
    # When the first complete read began that lacked it, where one read is no proof.
    missing_since = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(db_default=Now())
    # When MultiMail was last asked what became of it, because its next event is late.
    asked_at = models.DateTimeField(null=True)
    # Fetches of its content that began and did not end, so that content that kills its
    # worker is given up.
    fetch_tries = models.PositiveSmallIntegerField(default=0)
    # What a webhook last reported of its end, until a read confirms or refutes that;
    # mostly empty.
    reported = models.CharField(max_length=20, default="", db_default="")
    revision = models.ForeignKey(
        "Revision", null=True, on_delete=models.PROTECT, related_name="+"
    )
    upstream_reason = models.TextField()
    upstream_decided_by = models.CharField(max_length=200)
    # The message whose request for changes this one answers; and which try it is.
    answers = models.ForeignKey(
        "Message",
        null=True,
        on_delete=models.SET_NULL,
        related_name="next_versions",
    )
    try_number = models.PositiveSmallIntegerField(default=1)
    # All recipients, and the sender of received mail: normalised, without names.
    addresses = ArrayField(models.TextField(), default=list)
    # Each recipient in the form that allowlists compare, for rehearsals over many;
    # empty until that was worked out.
    written_to = ArrayField(models.TextField(), null=True)
    outside = models.PositiveIntegerField(default=0)
    has_attachments = models.BooleanField(default=False)
    # Who or what started it, in one form: "discord:dana", "key:Invoices", or empty.
    started_by = models.CharField(max_length=200)
    run_id = models.CharField(max_length=200)
    # The same for messages that differ in amounts, names and addresses only.
    shape = models.CharField(max_length=32)
    # Equal for messages of one shape with the same numbers.
    amounts = models.CharField(max_length=32)
    # When the entries of allowlists that name its recipients were counted for it.
    hits_counted_at = models.DateTimeField(null=True)
    search = SearchVectorField(null=True)

    objects = MessageManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "upstream_id"], name="message_once"
            ),
            models.CheckConstraint(
                condition=Q(state__in=MessageState.values), name="message_state_known"
            ),
            # A local message waits, or has ended: it is never approved or sent.
            models.CheckConstraint(
                condition=Q(is_local=False) | Q(state__in=("held", "cancelled")),
                name="message_local_stays",
            ),
        ]
        indexes = [
            # The queue, oldest first: covers only held messages.
            models.Index(
                fields=["held_at", "id"], condition=Q(state="held"), name="message_held"
            ),
            # History, newest first.
            models.Index(
                F("changed_at").desc(), F("id").desc(), name="message_changed"
            ),
            models.Index(
                F("changed_at").desc(),
                F("id").desc(),
                condition=Q(state__in=("failed", "bounced")),
                name="message_failed",
            ),
            # Messages whose content is still to be fetched: few.
            models.Index(
                fields=["held_at"],
                condition=Q(state="held", hydrated_at=None),
                name="message_to_hydrate",
            ),
            # Messages given up after several tries: hardly any.
            models.Index(
                fields=["held_at"],
                condition=Q(state="held", fetch_tries__gte=3),
                name="message_unfetchable",
            ),
            # What webhooks reported and no read has confirmed yet: few.
            models.Index(
                fields=["connection"],
                condition=~Q(reported=""),
                name="message_reported",
            ),
            # Expired messages, and those whose next event is late.
            models.Index(
                fields=["expires_at"], condition=Q(state="held"), name="message_expiry"
            ),
            # Expiries that our gateway does not know yet.
            models.Index(
                fields=["expires_at"],
                condition=Q(state="held", expires_at__isnull=False)
                & (Q(gate_expires_at=None) | ~Q(gate_expires_at=F("expires_at"))),
                name="message_expiry_to_tell",
            ),
            models.Index(
                fields=["changed_at"],
                condition=Q(state__in=("approved", "scheduled_approved", "gone")),
                name="message_on_its_way",
            ),
            # Recent recipients, and rejected messages with the same text.
            models.Index(
                "connection",
                F("changed_at").desc(),
                condition=Q(state__in=_LEFT),
                name="message_left",
            ),
            models.Index(
                "connection",
                "shape",
                F("changed_at").desc(),
                condition=Q(state="rejected"),
                name="message_rejected",
            ),
            # Another order of the queue, and its narrower views.
            models.Index(
                ENDS, "held_at", "id", condition=Q(state="held"), name="message_by_end"
            ),
            models.Index(
                fields=["mailbox", "held_at", "id"],
                condition=Q(state="held"),
                name="message_held_in",
            ),
            models.Index(
                fields=["started_by", "held_at", "id"],
                condition=Q(state="held"),
                name="message_held_by",
            ),
            models.Index(
                fields=["held_at", "id"],
                condition=Q(state="held", has_attachments=True),
                name="message_held_with_files",
            ),
            models.Index(
                fields=["run_id"], condition=~Q(run_id=""), name="message_run"
            ),
            # Whose hits are still to be counted: mostly none.
            models.Index(
                fields=["id"],
                condition=Q(hits_counted_at=None),
                name="message_to_count",
            ),
            models.Index(
                fields=["thread_id"], condition=~Q(thread_id=""), name="message_thread"
            ),
            GinIndex(fields=["search"], name="message_search"),
            GinIndex(fields=["addresses"], name="message_addresses"),
            # Links in cards and in MultiMail's pages name only the upstream id.
            models.Index(fields=["upstream_id"], name="message_upstream"),
        ]

    def __str__(self) -> str:
        if self.is_unnamed:
            return "(subject not known)"
        return self.subject or "(no subject)"

    def ledger_words(self) -> list[tuple[str, str]]:
        """Return the search words of ledger entries about this message, with the labels
        of `common.words`.
        """
        words = [(CONTENT, self.subject)]
        words += [(TO, address) for address in self.addresses[:50]]
        words += [(BY, value) for value in self.origin.values()]
        return words

    @property
    def origin(self) -> dict[str, str]:
        """What its sender says of who or what started it: texts and numbers by their
        common names.
        """
        named = {name: self.trigger[name] for name in NAMED if name in self.trigger}
        return readable_values(named)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the current version; empty before one was read."""
        return self.revision.fingerprint if self.revision else ""

    @property
    def is_held(self) -> bool:
        return self.state == MessageState.HELD

    @property
    def is_inbound(self) -> bool:
        """Whether it was received, for an agent to read."""
        return self.direction == "inbound"

    @property
    def is_unnamed(self) -> bool:
        """Whether neither a webhook nor a read has given its subject yet."""
        return self.hydrated_at is None and not self.subject


class Revision(models.Model):
    """The content at one time. It never changes; verdicts and the ledger point to it."""

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="revisions"
    )
    number = models.PositiveIntegerField()
    content = models.JSONField()
    coverage = models.JSONField()
    fingerprint = models.CharField(max_length=64)
    findings = models.JSONField(default=list)
    # The text of its HTML without markup, whether it shows or not.
    html_text = models.TextField(default="", db_default="")
    # The parser was killed over it twice: only its source is shown, and it is not
    # parsed again by itself.
    is_unsafe = models.BooleanField(default=False, db_default=False)
    # In how many ways our gateway simplified its HTML when it was handed in.
    simplified = models.PositiveSmallIntegerField(default=0, db_default=0)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["message", "number"], name="revision_once")
        ]

    @cached_property
    def short_fingerprint(self) -> str:
        """The shortened fingerprint for display."""
        return short_fingerprint(self.fingerprint)


class OfMessagesQuerySet(models.QuerySet[_Row]):
    """Reads of rows that each belong to a message."""

    def visible_to(self, actor: Actor) -> Self:
        """Only those on messages that the actor may see."""
        if actor.sees_all():
            return self
        return self.filter(message__in=Message.objects.visible_to(actor))
