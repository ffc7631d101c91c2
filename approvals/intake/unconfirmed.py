"""Commands that confirm or refute what webhooks reported about the end of messages,
after a read of MultiMail.

A webhook alone ends no message, because whoever has the signing secret of a connection
can sign anything. So an event that ends a message waits with the result CHECKING, and
the message stays as it is, until a read has shown whether the event is true.
"""

from datetime import datetime

from approvals.intake.ingest import apply_again, needs_read, write_result
from common.actors import webhook
from mirror.models import Message, WebhookEvent
from mirror.models.webhooks import WebhookEventQuerySet
from mirror.recording import record_about
from mirror.states import MessageState
from mirror.sync.health import ACTOR
from upstream.events import parse

Result = WebhookEvent.Result
# The fields of a message that applying an event may change.
_MOVED = (
    "state",
    "changed_at",
    "upstream_status",
    "upstream_reason",
    "upstream_decided_by",
)


_STILL_HELD = "A read found that MultiMail still holds it."
# What a read found: MultiMail does not know the message; it told the message's state,
# which has been applied; or there was no read.
ABSENT = "absent"
TOLD = "told"
NO_READ = "no read"


def apply_waiting(
    message: Message, *, read: str, before: datetime | None = None
) -> None:
    """Apply or refute the events about a locked message that wait to be confirmed, in
    the caller's transaction; `read` is what a read found.

    - TOLD: an event that would still need a read is refuted if it came `before` the
      read began, and waits on otherwise; the others are applied.
    - ABSENT: all events are applied, since nothing better is known.
    - NO_READ: events that no longer need a read are applied; the others wait on.

    An event that was applied but contradicts the state of the message is refuted too.
    """
    actor = webhook(message.connection.slug)
    refuted: list[int] = []
    for row in (
        WebhookEvent.objects.unconfirmed_about(message)
        .select_related("connection")
        .order_by("pk")
    ):
        if read != ABSENT and needs_read(message, parse(bytes(row.body))):
            if read == TOLD and before and row.received_at < before:
                refuted.append(row.pk)
            continue
        state_before = message.state
        applied, error = apply_again(row, actor=actor, is_confirmed=read == ABSENT)
        message.refresh_from_db(fields=_MOVED)
        if applied.contradicts and message.state == state_before:
            refuted.append(row.pk)
            continue
        write_result(row, applied, error)
    state = MessageState(message.state).label.lower()
    _refute(
        message,
        WebhookEvent.objects.filter(pk__in=refuted),
        f"A read found that it is {state}.",
    )


def refute(message: Message, *, before: datetime) -> None:
    """Refute the events about the end of a locked message that came `before` a time: a
    read that began then found that MultiMail still holds it.
    """
    events = WebhookEvent.objects.unconfirmed_about(message)
    _refute(message, events.filter(received_at__lt=before), _STILL_HELD)


def overrule(message: Message) -> None:
    """Refute all events about the end of a locked message, because a read has just
    reopened it.
    """
    _refute(message, WebhookEvent.objects.ends_of(message), _STILL_HELD)
    _forget_report(message)


def _refute(message: Message, events: WebhookEventQuerySet, explanation: str) -> None:
    """Refute these events of a message. If no other event waits to be confirmed, clear
    what was reported of it.
    """
    names = list(events.order_by("pk").values_list("name", flat=True))
    if names:
        events.update(result=Result.REFUTED, handled_at=None)
        record_about(
            "webhook.refuted",
            message,
            actor=ACTOR,
            details={
                "event": ", ".join(dict.fromkeys(names)),
                "explanation": explanation,
            },
        )
    if not WebhookEvent.objects.unconfirmed_about(message).exists():
        _forget_report(message)


def _forget_report(message: Message) -> None:
    message.reported = ""
    message.save(update_fields=["reported"])
