"""Every read of messages, their threads and their attached files, except those of the queue."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Self

from django.apps import apps
from django.contrib.postgres.aggregates import ArrayAgg
from django.db import models
from django.db.models import Case, Count, Exists, F, Func, Max, OuterRef, Q, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast, Now

from common.grace import STUCK_AFTER, WORD_AFTER
from common.postgres.statements import ASKING
from mirror.querysets.connections import is_well
from mirror.querysets.terms import DONE, FETCH_TRIES, LATELY, ON_ITS_WAY
from mirror.states import MessageState
from people.actors import Actor

if TYPE_CHECKING:
    from mirror.models import AttachedFile, Message, Thread, WebhookEvent  # noqa: F401 - the types of the querysets


def visible_condition(actor: Actor) -> Q:
    """Return the condition that limits a query to the mailboxes that the actor may see, by any role."""
    if actor.sees_all():
        return Q()
    # Matches nothing, for an actor without roles. `none()` would not do: Django composes no SQL for a query that it
    # knows to be empty, and some statements are built from that SQL.
    visible = Q(pk__lt=0)
    for scope in actor.scopes:
        visible |= Q(mailbox_id=scope.mailbox) if scope.mailbox is not None else Q(connection_id=scope.connection)
    return visible


def anybody_like(actor: Actor) -> Actor:
    """Return an actor with the same scopes whose key is a parameter, so that cached SQL fits all such actors.

    It has no address either: a cached statement must not keep a request alive.
    """
    return Actor(kind=actor.kind, id=str(ASKING), label="", surface="", scopes=actor.scopes)


def asked_by(actor: Actor) -> dict[int, int]:
    """Return the value of that parameter for this person."""
    return {ASKING: int(actor.id)} if actor.kind == "person" else {}


# Messages of one mailbox that go to the same recipients: connection, mailbox, how many, the highest key, and as JSON
# all keys and the recipients; None where those were not worked out yet. A tuple of plain values, which the garbage
# collector does not walk through: it would take longer over ten thousands of lists than all else about them.
SameRecipients = tuple[int, int | None, int, int, str, str | None]


def recipients_in(stored: str | None) -> list[str]:
    """Return the recipients of SameRecipients, in the form that allowlists compare."""
    text = stored or "[]"
    # Without an escape, each quotation mark begins or ends a text; splitting takes a third of the time.
    return list(json.loads(text)) if "\\" in text or text == "[]" else text[2:-2].split('","')


def as_json(value: str | ArrayAgg) -> Cast:
    """Return an array as JSON text."""
    return Cast(Func(value, function="to_json"), models.TextField())


def within(column: str, spans: Iterable[tuple[datetime, datetime]]) -> Func:
    """Return whether a time lies in one of these spans, the end of each excluded."""
    text = ",".join(f"[{start.isoformat()},{end.isoformat()})" for start, end in spans)
    stored = Func(Value("{" + text + "}"), template="(%(expressions)s)::tstzmultirange")
    return Func(F(column), stored, template="(%(expressions)s)", arg_joiner=" <@ ", output_field=models.BooleanField())


def _is_of_threads(field: str, messages: "Sequence[Message]") -> Q:
    """Return the condition of rows that belong to the threads of these messages, whose ids are in `field`."""
    keys = {(one.mailbox_id, one.thread_id) for one in messages if one.thread_id and one.mailbox_id}
    return reduce(or_, (Q(("mailbox", mailbox), (field, thread)) for mailbox, thread in keys), Q(pk__in=()))


class MessageQuerySet(models.QuerySet["Message"]):
    """Reads of messages."""

    def real(self) -> Self:
        """Without practice messages."""
        return self.filter(is_practice=False)

    def really_sent_since(self, since: datetime) -> Self:
        """Outbound mail that was held or reported since then and read, without tests (relies on message_changed)."""
        # What was held since then changed since then; only when it last changed has an index of all.
        lately = self.real().filter(changed_at__gte=since, held_at__gte=since)
        return lately.exclude(direction="inbound").filter(sandbox=False, revision__isnull=False)

    def held_since(self, since: datetime) -> Self:
        """Mail that was held or reported since then and read, without tests (relies on message_changed)."""
        return self.real().filter(changed_at__gte=since, held_at__gte=since, sandbox=False, revision__isnull=False)

    def at(self, connection: int | None, mailbox: int | None) -> Self:
        """Those of one mailbox or connection; all where neither is given."""
        if mailbox is not None:
            return self.filter(mailbox=mailbox)
        return self.filter(connection=connection) if connection is not None else self

    def alike(self) -> list[SameRecipients]:
        """All of them, grouped by mailbox and stored recipients."""
        groups = self.order_by().values("connection_id", "mailbox_id", who=as_json("written_to"))
        counted = groups.annotate(number=Count("pk"), newest=Max("pk"), keys=as_json(ArrayAgg("pk")))
        return list(counted.values_list("connection_id", "mailbox_id", "number", "newest", "keys", "who"))

    def grouped_by(self, columns: Mapping[str, Any], **more: models.Aggregate) -> list[tuple[Any, ...]]:
        """All of them, grouped by these expressions: their values, those aggregates, and all keys as JSON."""
        counted = self.order_by().values(**columns).annotate(**more, keys=as_json(ArrayAgg("pk")))
        return list(counted.values_list(*columns, *more, "keys"))

    def to_count(self) -> Self:
        """Those whose hits are still to be counted, oldest first (relies on message_to_count)."""
        found = self.real().filter(hits_counted_at=None, hydrated_at__isnull=False, revision__isnull=False)
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

    def not_hydrated(self) -> Self:
        """Held, and the content has not been fetched yet."""
        return self.real().filter(state=MessageState.HELD, hydrated_at=None)

    def to_hydrate(self) -> Self:
        """Those whose connection can be asked for it, and that were not given up."""
        return self.not_hydrated().filter(is_well("connection__"), fetch_tries__lt=FETCH_TRIES)

    def unfetchable(self) -> Self:
        """Held, with content given up after several tries (message_unfetchable)."""
        return self.filter(state=MessageState.HELD, fetch_tries__gte=FETCH_TRIES)

    def to_ask_about(self) -> Self:
        """Those whose next event is late, and that MultiMail can be asked about.

        After a minute, 5 minutes, half an hour, then every 6 hours for a month. Sent mail is asked about only three
        times within an hour, because many mail servers never report delivery; so are decided messages without a known
        subject. That hour bounds how much of message_changed is read; other states use message_on_its_way.
        """
        first = Q(asked_at=None) | Q(asked_at__lt=F("changed_at"))
        again = Q(asked_at__lt=Now() - timedelta(hours=6))
        for since, wait in ((timedelta(minutes=3), timedelta(minutes=5)), (timedelta(minutes=30),) * 2):
            again |= Q(asked_at__lt=F("changed_at") + since) & Q(asked_at__lt=Now() - wait)
        unnamed = Q(state__in=DONE, hydrated_at=None, subject="")
        left = Q(state=MessageState.SENT) | unnamed
        left &= Q(changed_at__gt=Now() - timedelta(hours=1))
        left &= first | Q(asked_at__lt=F("changed_at") + timedelta(minutes=30))
        waits = Q(state__in=ON_ITS_WAY, changed_at__gt=Now() - timedelta(days=30))
        can_be_asked = Q(connection__is_our_gateway=True) | Q(direction="outbound") & ~Q(connection__read_key="")
        found = self.real().filter(left | waits, first | again, can_be_asked)
        found = found.filter(changed_at__lt=Now() - timedelta(minutes=1))
        # Sent mail comes last.
        has_left = Case(When(state=MessageState.SENT, then=1), default=0)
        return found.filter(is_well("connection__")).order_by(has_left, "changed_at")

    def changed_since(self, at: datetime | Combinable) -> Self:
        """Those that something happened to at that time or later."""
        return self.filter(changed_at__gte=at)

    def long_unread(self) -> Self:
        """Held for a while, and nobody can read them because their content has not come (message_to_hydrate)."""
        return self.not_hydrated().filter(held_at__lt=Now() - STUCK_AFTER, fetch_tries__lt=FETCH_TRIES)

    def of_event(self, event: "WebhookEvent") -> Self:
        """The message that a webhook was about; none where its body names none."""
        return self.filter(connection=event.connection_id, upstream_id=event.email_id)

    def come_or_left(self, states: Collection[str]) -> Self:
        """Those in one of these states, and received mail that is held: it has come all the same."""
        return self.filter(Q(state__in=states) | Q(direction="inbound", state=MessageState.HELD))

    def in_thread(self, mailbox: int, thread_id: str) -> Self:
        """Those of one conversation of one mailbox (relies on the partial index message_thread)."""
        return self.filter(mailbox=mailbox, thread_id=thread_id).exclude(thread_id="")

    def in_threads_of(self, messages: "Sequence[Message]") -> Self:
        """Those of the conversations that these belong to, without their texts (message_thread)."""
        return self.filter(_is_of_threads("thread_id", messages)).exclude(thread_id="")

    def late(self) -> Self:
        """Held, and past a target of its review plan as of the last sweep (message_late)."""
        return self.filter(state=MessageState.HELD, late_since__isnull=False)

    def to_watch(self) -> Self:
        """Held and read, with something due by their review plan (message_watch)."""
        return self.filter(state=MessageState.HELD, watch_at__lte=Now()).exclude(hydrated_at=None)

    def expiry_to_tell(self) -> Self:
        """Held at our gateway, which does not know their expiry yet (message_expiry_to_tell)."""
        unknown = Q(gate_expires_at=None) | ~Q(gate_expires_at=F("expires_at"))
        found = self.real().filter(unknown, state=MessageState.HELD, expires_at__isnull=False)
        return found.filter(is_well("connection__"), connection__is_our_gateway=True)

    def overdue(self) -> Self:
        """Held and expired for a while, although the expiry rule should have rejected them."""
        return self.real().filter(state=MessageState.HELD, expires_at__lt=Now() - STUCK_AFTER)

    def without_word(self) -> Self:
        """Recently approved, but not just now, without a report of MultiMail since (message_on_its_way)."""
        return self.filter(
            state=MessageState.APPROVED, changed_at__lt=Now() - WORD_AFTER, changed_at__gt=Now() - LATELY
        )

    def reported_unconfirmed(self) -> Self:
        """Those of which a webhook reported what no read has confirmed or refuted yet (message_reported)."""
        return self.exclude(reported="")

    def reported_and_ended(self) -> Self:
        """Those of them that are not held and were not asked about in the last minute (message_reported)."""
        waits = self.reported_unconfirmed().exclude(state=MessageState.HELD).filter(connection__removed_at=None)
        return waits.filter(Q(asked_at=None) | Q(asked_at__lt=Now() - timedelta(minutes=1)))


_Manager = models.Manager.from_queryset(MessageQuerySet)


class MessageManager(_Manager):  # type: ignore[type-arg]
    """Leaves out the columns that only the database reads: the search vector may be larger than all the rest."""

    def get_queryset(self) -> MessageQuerySet:
        """Return all messages without the search columns."""
        return super().get_queryset().defer("search", "bands")  # type: ignore[return-value]


class ThreadQuerySet(models.QuerySet["Thread"]):
    """Reads of threads."""

    def due(self) -> Self:
        """To be read, and not before its time nor while somebody reads it, by the database's clock (thread_to_read)."""
        return self.filter(wanted=True, not_before__lte=Now())

    def to_read(self) -> Self:
        """Due, with a draft that is held, on a connection that can be asked (also by message_thread)."""
        return self.due().filter(is_well("mailbox__connection__"), _has_held())

    def of_message(self, message: "Message") -> Self:
        """The thread that a message belongs to; none where MultiMail named none."""
        if not message.thread_id or message.mailbox_id is None:
            return self.none()
        return self.filter(mailbox=message.mailbox_id, upstream_id=message.thread_id)

    def of_messages(self, messages: "Sequence[Message]") -> Self:
        """The threads that these messages belong to (thread_once)."""
        return self.filter(_is_of_threads("upstream_id", messages))

    def older_than(self, age: timedelta) -> Self:
        """Those that were not read for so long."""
        return self.filter(Q(read_at=None) | Q(read_at__lt=Now() - age))

    def done_with(self, age: timedelta) -> Self:
        """Those without a held draft that were last read so long ago."""
        return self.exclude(_has_held()).filter(not_before__lt=Now() - age)


def _has_held() -> Exists:
    messages = apps.get_model("mirror", "Message").objects
    held = messages.filter(state=MessageState.HELD, thread_id=OuterRef("upstream_id"), mailbox=OuterRef("mailbox"))
    return Exists(held.exclude(thread_id=""))


_OPEN = ("waiting", "failing", "not_visible", "gone")


class AttachedFileQuerySet(models.QuerySet["AttachedFile"]):
    """Reads of attached files."""

    def without_bytes(self) -> Self:
        """Without the bytes, which are read only to be served."""
        return self.defer("content")

    def in_order(self) -> Self:
        return self.order_by("place")

    def to_fetch(self) -> Self:
        """Due by the database's clock, of the version that is held, on a connection that can be asked (file_to_fetch).

        Files that are gone, or that no key shows, are retried occasionally, because keys are replaced.
        """
        return self.filter(
            is_well("message__connection__"),
            state__in=_OPEN,
            not_before__lte=Now(),
            revision=F("message__revision"),
            message__state=MessageState.HELD,
        )

    def differing(self) -> Self:
        """Those whose bytes are known to differ from those that the message's fingerprint names."""
        return self.exclude(sha256="").exclude(found_sha256="").exclude(sha256__iexact=F("found_sha256"))

    def past_retention(self, age: timedelta) -> Self:
        """Those whose bytes are stored although their message was decided so long ago, or has a newer version."""
        past = Q(message__state__in=DONE, message__changed_at__lt=Now() - age)
        replaced = Q(fetched_at__lt=Now() - age) & ~Q(revision=F("message__revision"))
        return self.filter(past | replaced, content__isnull=False)

    def drop_bytes(self) -> int:
        """Delete the bytes; what was detected in the files stays."""
        return self.update(content=None, state="deleted")
