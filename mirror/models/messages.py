"""The tables of messages and their revisions, as MultiMail holds them, with the queries
and indexes for them. Rules are in the commands, not here.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property, reduce
from operator import or_
from typing import Any, Self, TypeVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Now

from common.actors import Actor
from common.endings import EndedBy
from common.fingerprint import short_fingerprint
from common.grace import NOT_TAKEN_AFTER, STUCK_AFTER, WORD_AFTER
from common.identifiers import uuid7
from common.postgres import one_of
from common.words import BY, CONTENT, TO
from mirror.models.connections import Connection, Mailbox, is_older, is_well, scoped
from mirror.states import DONE, ENDS, FETCH_TRIES, LATELY, ON_ITS_WAY, MessageState

_Row = TypeVar("_Row", bound=models.Model)

# Encrypted columns of the connection, which are read only where they are needed.
_SECRETS = """
connection__webhook_secret connection__previous_webhook_secret connection__oversight_key
connection__read_key connection__admin_key connection__agent_key
""".split()


def visible_condition(actor: Actor) -> Q:
    """Return the condition for rows of the connections and mailboxes for which the
    actor has any role.
    """
    if actor.sees_all():
        return Q()
    # Matches nothing, for an actor without roles. `none()` cannot be used: Django makes
    # no SQL for a query that it knows to be empty, and some statements are built from
    # this SQL.
    nothing = Q(pk__lt=0)
    connections, mailboxes = scoped(actor)
    return nothing | Q(connection__in=connections) | Q(mailbox__in=mailboxes)


def is_of_threads(field: str, messages: "Sequence[Message]") -> Q:
    """Return the condition for rows that belong to a thread of one of these messages;
    `field` is the column with the id of a row's thread.
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


# The names in a message's metadata by which senders usually say who or what started it.
# Acts on the message can be searched by their values.
NAMED = tuple(
    """
discord_user discord_user_id discord_channel discord_channel_id discord_guild
discord_interaction_id run_id runId
""".split()
)


# So many values of a message's metadata, and of its aliases, are searched.
MAX_NAMES = 50


def readable_values(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of metadata that are texts or numbers, as texts, cut: at most
    MAX_NAMES, those of NAMED first.
    """
    return {
        name: str(metadata[name])[:500]
        for name in sorted(metadata, key=lambda name: name not in NAMED)[:MAX_NAMES]
        if type(metadata[name]) in (str, int)
    }


# States of messages whose recipients have been written to. An index has this condition,
# so it must not change without a migration.
_LEFT = ("approved", "sent", "delivered")


class MessageQuerySet(models.QuerySet["Message"]):
    """Queries of messages."""

    def held(self) -> Self:
        return self.filter(state=MessageState.HELD)

    def held_since(self, since: datetime) -> Self:
        """Messages that were held or first reported since then and whose content was
        read, without tests (uses the index message_changed).
        """
        # A message that was held since then also changed since then. `changed_at` is in
        # the condition only because it has an index over all messages.
        return self.filter(
            changed_at__gte=since,
            held_at__gte=since,
            sandbox=False,
            revision__isnull=False,
        )

    def visible_to(self, actor: Actor) -> Self:
        """Messages that the actor may see."""
        return self.filter(visible_condition(actor))

    def failed(self) -> Self:
        """Messages that were approved and did not reach the recipient."""
        return self.filter(state__in=(MessageState.FAILED, MessageState.BOUNCED))

    def decided(self) -> Self:
        """Messages that are not held any more, or never were."""
        return self.filter(state__in=DONE)

    def oldest_first(self) -> Self:
        return self.order_by("held_at", "pk")

    def with_content(self) -> Self:
        """With the current version and the mailbox of each message."""
        return self.select_related("revision", "mailbox")

    def with_connection(self) -> Self:
        """With the connection of each message, without its keys, which take time to
        decrypt.
        """
        return self.select_related("connection").defer(*_SECRETS)

    def not_hydrated(self) -> Self:
        """Held messages whose content has not been fetched yet."""
        return self.held().filter(hydrated_at=None)

    def to_hydrate(self) -> Self:
        """Held messages whose content can be fetched now: their connection can be
        asked, and they were not given up or put off. Those that were put off come last.
        """
        is_due = Q(read_after=None) | Q(read_after__lte=Now())
        return (
            self.not_hydrated()
            .filter(is_well("connection__"), is_due, fetch_tries__lt=FETCH_TRIES)
            .order_by(F("read_after").asc(nulls_first=True))
        )

    def unfetchable(self) -> Self:
        """Held messages whose content was given up after several tries (uses the index
        message_unfetchable).
        """
        return self.held().filter(fetch_tries__gte=FETCH_TRIES)

    def to_ask_about(self) -> Self:
        """Messages whose next event is late, and about which MultiMail can be asked
        now.

        It is asked after a minute, 5 minutes, half an hour, and then every 6 hours for
        a month. About sent messages it is asked only three times within an hour,
        because many mail servers never report a delivery; the same holds for decided
        messages whose subject is not known. The hour limits how much of the index
        message_changed is read; other states use message_on_its_way.
        """
        first = Q(asked_at=None) | Q(asked_at__lt=F("changed_at"))
        again = Q(asked_at__lt=Now() - timedelta(hours=6))
        for since, wait in ((3, 5), (30, 30)):
            was_asked_soon = Q(asked_at__lt=F("changed_at") + timedelta(minutes=since))
            again |= was_asked_soon & Q(asked_at__lt=Now() - timedelta(minutes=wait))
        unnamed = Q(state__in=DONE, hydrated_at=None, subject="")
        sent_or_unnamed = Q(state=MessageState.SENT) | unnamed
        sent_or_unnamed &= Q(changed_at__gt=Now() - timedelta(hours=1))
        sent_or_unnamed &= first | Q(
            asked_at__lt=F("changed_at") + timedelta(minutes=30)
        )
        on_its_way = Q(state__in=ON_ITS_WAY, changed_at__gt=Now() - timedelta(days=30))
        can_be_asked = Q(connection__is_our_gateway=True) | Q(
            direction="outbound"
        ) & ~Q(connection__read_key="")
        messages = self.filter(
            sent_or_unnamed | on_its_way,
            first | again,
            can_be_asked,
            is_well("connection__"),
            changed_at__lt=Now() - timedelta(minutes=1),
        )
        # Sent mail comes last.
        has_left = Case(When(state=MessageState.SENT, then=1), default=0)
        return messages.order_by(has_left, "changed_at")

    def long_unread(self) -> Self:
        """Messages that have been held for a while, and that nobody can read because
        their content was not fetched yet (uses the index message_to_hydrate).
        """
        return self.not_hydrated().filter(
            held_at__lt=Now() - STUCK_AFTER, fetch_tries__lt=FETCH_TRIES
        )

    def known_as(self, *, connection: int, upstream_id: str) -> Self:
        """The message with this id at MultiMail."""
        return self.filter(connection=connection, upstream_id=upstream_id)

    def come_or_left(self, states: Collection[str]) -> Self:
        """Messages in one of these states, and received ones that are held: they have
        arrived, although nobody released them yet.
        """
        return self.filter(
            Q(state__in=states) | Q(direction="inbound", state=MessageState.HELD)
        )

    def in_thread(self, mailbox: int, thread_id: str) -> Self:
        """Messages of one thread of a mailbox (uses the index message_thread)."""
        return self.filter(mailbox=mailbox, thread_id=thread_id).exclude(thread_id="")

    def in_threads_of(self, messages: "Sequence[Message]") -> Self:
        """Messages of the threads to which these messages belong (uses the index
        message_thread).
        """
        return self.filter(is_of_threads("thread_id", messages)).exclude(thread_id="")

    def expiry_to_tell(self) -> Self:
        """Messages held at our gateway whose expiry the gateway was not told yet (uses
        the index message_expiry_to_tell).
        """
        not_told = Q(gate_expires_at=None) | ~Q(gate_expires_at=F("expires_at"))
        return self.filter(
            not_told,
            is_well("connection__"),
            state=MessageState.HELD,
            expires_at__isnull=False,
            connection__is_our_gateway=True,
        )

    def unexplained(self) -> Self:
        """Messages that were decided outside this desk lately, of accounts in which only
        the desk can decide, as last read (uses the index message_elsewhere).
        """
        # Our gateway mails no links that decide.
        no_links = Q(connection__doors__oversight_email=[])
        return self.filter(
            no_links | Q(connection__is_our_gateway=True),
            decided_elsewhere_at__gt=Now() - LATELY,
            connection__doors__keys=[],
        )

    def overdue(self) -> Self:
        """Messages that are still held a while after their expiry, at which they should
        have been rejected.
        """
        return self.held().filter(expires_at__lt=Now() - STUCK_AFTER)

    def without_word(self) -> Self:
        """Messages that were approved some time ago, and of which MultiMail has
        reported nothing since (uses the index message_on_its_way).
        """
        return self.filter(
            state=MessageState.APPROVED,
            mail_error="",
            changed_at__lt=Now() - WORD_AFTER,
            changed_at__gt=Now() - LATELY,
        )

    def not_taken(self) -> Self:
        """Messages that have been approved for a while, and that the mail server does
        not take (uses the index message_on_its_way).
        """
        states = (MessageState.APPROVED, MessageState.SCHEDULED_APPROVED)
        late = self.filter(state__in=states, changed_at__lt=Now() - NOT_TAKEN_AFTER)
        return late.exclude(mail_error="")

    def reported_unconfirmed(self) -> Self:
        """Messages of which a webhook reported an end that no read has confirmed or
        refuted yet (uses the index message_reported).
        """
        return self.exclude(reported="")

    def reported_and_ended(self) -> Self:
        """Messages of `reported_unconfirmed` that are not held, and about which
        MultiMail was not asked in the last minute.
        """
        messages = self.reported_unconfirmed().exclude(state=MessageState.HELD)
        return messages.filter(
            is_older("asked_at", timedelta(minutes=1)), connection__removed_at=None
        )


_Manager = models.Manager.from_queryset(MessageQuerySet)


class MessageManager(_Manager):  # type: ignore[type-arg]
    """The manager of messages. It does not read the search vector, which only the
    database uses, and which may be larger than all other columns.
    """

    def get_queryset(self) -> MessageQuerySet:
        """Return all messages without the search vector."""
        return super().get_queryset().defer("search")  # type: ignore[return-value]


class Message(models.Model):
    """A message as MultiMail has it. `upstream_status` is MultiMail's word, unchanged;
    `state` is what the desk concludes from events and reads.
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
    sender = models.CharField(max_length=1000)
    recipients = models.JSONField(default=list)
    subject = models.TextField()
    # The metadata that its sender gave, which says who or what started it.
    trigger = models.JSONField(default=dict)
    sent_by_key = models.CharField(max_length=200)
    sent_by_key_name = models.CharField(max_length=200)
    trace = models.CharField(max_length=64)
    # When it was held, or first reported if it never was.
    held_at = models.DateTimeField()
    # When its content was first stored.
    hydrated_at = models.DateTimeField(null=True)
    # When it is rejected if nobody decides; None for never.
    expires_at = models.DateTimeField(null=True)
    # The expiry that our gateway was last told.
    gate_expires_at = models.DateTimeField(null=True)
    # When a read last showed that MultiMail holds it. A read that began earlier and
    # does not list the message must not close it.
    seen_at = models.DateTimeField(db_default=Now())
    # When the first complete read began that did not list it, while one read alone is
    # no proof that it is gone.
    missing_since = models.DateTimeField(null=True)
    # When something last happened to it.
    changed_at = models.DateTimeField(db_default=Now())
    # When MultiMail was last asked what became of it, because its next event is late.
    asked_at = models.DateTimeField(null=True)
    # How many fetches of its content began and did not end. After a few of them it is
    # given up, because the content may be what kills the worker.
    fetch_tries = models.PositiveSmallIntegerField(default=0)
    # When its content is read again that the parser had no time for; empty once it was
    # read.
    read_after = models.DateTimeField(null=True)
    # The end that a webhook reported, until a read confirms or refutes it; mostly
    # empty.
    reported = models.CharField(max_length=20, default="", db_default="")
    revision = models.ForeignKey(
        "Revision", null=True, on_delete=models.PROTECT, related_name="+"
    )
    # What MultiMail's mail server answered, while it does not take the message.
    mail_error = models.TextField(default="", db_default="")
    upstream_reason = models.TextField()
    upstream_decided_by = models.CharField(max_length=200)
    upstream_ended_by = models.CharField(
        max_length=10, choices=EndedBy, default="", db_default=""
    )
    # When the desk learnt that it was decided outside this desk.
    decided_elsewhere_at = models.DateTimeField(null=True)
    # The earlier message for which changes were requested, if this one is its new
    # version; and which try it is, from 1.
    answers = models.ForeignKey(
        "Message", null=True, on_delete=models.SET_NULL, related_name="next_versions"
    )
    try_number = models.PositiveSmallIntegerField(default=1)
    # The addresses of all recipients, and of the sender if it was received: normalised,
    # and without names.
    addresses = ArrayField(models.TextField(), default=list)
    # All recipients in the form that allowlists compare, for rehearsals over many
    # messages; None until that was computed.
    written_to = ArrayField(models.TextField(), null=True)
    outside = models.PositiveIntegerField(default=0)
    has_attachments = models.BooleanField(default=False)
    # Who or what started it, in one form: "discord:dana", "key:Invoices", or empty.
    started_by = models.CharField(max_length=200)
    run_id = models.CharField(max_length=200)
    # A hash of the text that is the same for messages that differ only in numbers,
    # names, amounts and addresses.
    shape = models.CharField(max_length=32)
    # A hash of the numbers in the text, to find messages of one shape with the same
    # ones.
    amounts = models.CharField(max_length=32)
    # Ids that people outside were given of it, and that no other column has: its
    # fingerprints, Message-IDs, and the references of its decisions.
    aliases = ArrayField(
        models.TextField(),
        default=list,
        db_default=Value([], ArrayField(models.TextField())),
    )
    search = SearchVectorField(null=True)

    objects = MessageManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "upstream_id"], name="message_once"
            ),
            one_of("state", MessageState.values, "message_state_known"),
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
            # Ends that webhooks reported and no read has confirmed yet: few.
            models.Index(
                fields=["connection"],
                condition=~Q(reported=""),
                name="message_reported",
            ),
            # Decisions that were made outside this desk: few.
            models.Index(
                fields=["decided_elsewhere_at"],
                condition=Q(decided_elsewhere_at__isnull=False),
                name="message_elsewhere",
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
            # For recent recipients, and for rejected messages with the same text.
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
            # The queue in the order of expiry, and with its filters.
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
            models.Index(
                fields=["thread_id"], condition=~Q(thread_id=""), name="message_thread"
            ),
            GinIndex(fields=["search"], name="message_search"),
            GinIndex(fields=["addresses"], name="message_addresses"),
            # Links in cards and on MultiMail's pages have only MultiMail's id.
            models.Index(fields=["upstream_id"], name="message_upstream"),
        ]

    def __str__(self) -> str:
        if self.is_unnamed:
            return "(subject not known)"
        return self.subject or "(no subject)"

    @property
    def names(self) -> list[tuple[str, str]]:
        """All ids and values by which people outside may know it, as pairs of a label
        of `common.words` and a text. Every search finds it by these.
        """
        started = (self.sent_by_key_name, *readable_values(self.trigger).values())
        ids = (str(self.public_id), self.upstream_id, self.thread_id, self.sent_by_key)
        names = [(BY, value) for value in started]
        return names + [(CONTENT, one) for one in (*ids, *self.aliases[-MAX_NAMES:])]

    def ledger_words(self) -> list[tuple[str, str]]:
        """Return by which words ledger entries about this message are found, and the
        message itself until its content was read: pairs as in `names`.
        """
        words = [(CONTENT, self.subject)]
        words += [(TO, address) for address in self.addresses[:50]]
        return words + self.names

    @property
    def row(self) -> MessageQuerySet:
        """This row alone, for updates that compare or that use the database's clock."""
        return Message.objects.filter(pk=self.pk)

    @property
    def ledger_subject(self) -> dict[str, Any]:
        """The arguments of `audit.recording.record` that name this message."""
        return {
            "connection": self.connection_id,
            "message": self.public_id,
            "words": self.ledger_words(),
        }

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the current version; empty until the content was read."""
        return self.revision.fingerprint if self.revision else ""

    @property
    def is_held(self) -> bool:
        return self.state == MessageState.HELD

    @property
    def is_given_up(self) -> bool:
        """Whether fetching its content failed so often that it is not tried again."""
        return self.fetch_tries >= FETCH_TRIES

    def is_put_off(self, now: datetime) -> bool:
        """Whether the parser had no time for its content, and it is read later."""
        return self.read_after is not None and self.read_after > now

    @property
    def sources(self) -> tuple[str, str]:
        """What the parser's time for its content counts against: the API key that sent
        it, or the mailbox; within that, the message itself.
        """
        key_or_mailbox = self.sent_by_key or f"mailbox {self.mailbox_id}"
        return f"{self.connection_id} {key_or_mailbox}", self.upstream_id

    @property
    def is_inbound(self) -> bool:
        """Whether the message was received, and is for an agent to read."""
        return self.direction == "inbound"

    @property
    def is_unnamed(self) -> bool:
        """Whether its subject is not known yet, from a webhook or a read."""
        return not self.hydrated_at and not self.subject


class Revision(models.Model):
    """One version of a message's content. It never changes; verdicts and the ledger
    point to it.
    """

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="revisions"
    )
    number = models.PositiveIntegerField()
    content = models.JSONField()
    coverage = models.JSONField()
    fingerprint = models.CharField(max_length=64)
    findings = models.JSONField(default=list)
    # All text in its HTML, visible or not, without markup.
    html_text = models.TextField(default="", db_default="")
    # Whether the parser had to be killed twice while it read this content. Then only
    # its source is shown, and it is not parsed again automatically.
    is_unsafe = models.BooleanField(default=False, db_default=False)
    # How many changes our gateway made when it simplified the HTML that was handed in.
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
    """Queries of rows that each belong to a message."""

    def visible_to(self, actor: Actor) -> Self:
        """Rows of messages that the actor may see."""
        if actor.sees_all():
            return self
        return self.filter(message__in=Message.objects.visible_to(actor))
