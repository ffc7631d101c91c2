"""What webhooks reported of the end of messages, and a read then confirmed or refuted.
A webhook alone ends nothing.

Whoever has a connection's signing secret can sign anything. So an event that ends a
message waits as CHECKING; the message stays as it is, and the commands here end the
event by what a read showed.
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
_MOVED = (
    "state",
    "changed_at",
    "upstream_status",
    "upstream_reason",
    "upstream_decided_by",
)


_STILL_HELD = "A read found that MultiMail still holds it."
# What a read that answered proves of the events that still wait after it was applied.
ABSENT = "absent"
TOLD = "told"
NO_READ = "no read"


def apply_waiting(
    message: Message, *, read: str, before: datetime | None = None
) -> None:
    """Apply or refute what webhooks reported of a locked message, in the caller's
    transaction.

    What a read TOLD has been applied before: an event that would still need a read is
    refuted, if it came `before` that read began. Where MultiMail does not know the
    message (ABSENT), the events are the best that is known. With NO_READ, only what
    needs no read by now is applied. What cannot be ended yet waits on.
    """
    actor = webhook(message.connection.slug)
    refuted: list[int] = []
    for row in (
        WebhookEvent.objects.unconfirmed_about(message)
        .select_related("connection")
        .order_by("pk")
    ):
        if read != ABSENT and needs_read(message, parse(bytes(row.body))):
            if read == TOLD and (before is None or row.received_at < before):
                refuted.append(row.pk)
            continue
        was = message.state
        applied, error = apply_again(row, actor=actor, is_confirmed=read == ABSENT)
        message.refresh_from_db(fields=_MOVED)
        if applied.contradicts and message.state == was:
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
    """Refute what webhooks reported of a locked message until then: a read that began
    later still found it held.
    """
    events = WebhookEvent.objects.unconfirmed_about(message)
    _refute(message, events.filter(received_at__lt=before), _STILL_HELD)


def overrule(message: Message) -> None:
    """Refute what webhooks reported of the end of a locked message that a read has just
    reopened.
    """
    _refute(message, WebhookEvent.objects.ends_of(message), _STILL_HELD)
    _forget_report(message)


def _refute(message: Message, events: WebhookEventQuerySet, explanation: str) -> None:
    """Refute these events; once none waits, nothing is reported of the message."""
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
