"""What webhooks reported of held messages, and a read then confirmed or refuted. A webhook alone ends nothing.

Whoever has a connection's signing secret can sign anything. So an event that ends a held message waits as CHECKING;
the message stays in the queue, and the commands here end the event by what a read showed.
"""

from datetime import datetime

from django.db.models.functions import Now

from approvals.intake.ingest import apply_again
from audit.recording import record
from mirror.models import Message, WebhookEvent
from mirror.querysets import WebhookEventQuerySet
from mirror.states import MessageState
from mirror.sync.health import ACTOR
from people.actors import webhook

Result = WebhookEvent.Result


def apply_confirmed(message: Message) -> None:
    """Apply what waited for a read that found a locked message no longer held, in the caller's transaction.

    What the read told has been applied before; an event that contradicts it is refuted.
    """
    actor, refuted = webhook(message.connection.slug), []
    for row in WebhookEvent.objects.unconfirmed_about(message).select_related("connection").order_by("pk"):
        applied, error = apply_again(row, actor=actor, is_confirmed=True)
        if applied.contradicts:
            refuted.append(row.pk)
            continue
        handled = {} if applied.is_open else {"handled_at": Now()}
        WebhookEvent.objects.filter(pk=row.pk).update(result=applied.result, error=error, **handled)
    message.refresh_from_db(fields=["state", "changed_at", "upstream_status", "upstream_reason", "upstream_decided_by"])
    explanation = f"MultiMail no longer holds it: it is {MessageState(message.state).label.lower()}."
    _refute(message, WebhookEvent.objects.filter(pk__in=refuted), explanation)
    _forget_report(message)


def refute(message: Message, *, before: datetime) -> bool:
    """Refute what webhooks reported of a locked message until then: a read that began later still found it held."""
    events = WebhookEvent.objects.unconfirmed_about(message).filter(received_at__lt=before)
    is_refuted = _refute(message, events, "A read found that MultiMail still holds it.")
    if not WebhookEvent.objects.unconfirmed_about(message).exists():
        _forget_report(message)
    return is_refuted


def overrule(message: Message) -> None:
    """Refute what webhooks reported of the end of a locked message that a read has just reopened."""
    _refute(message, WebhookEvent.objects.ends_of(message), "A read found that MultiMail still holds it.")
    _forget_report(message)


def _refute(message: Message, events: WebhookEventQuerySet, explanation: str) -> bool:
    names = list(events.order_by("pk").values_list("name", flat=True))
    if names:
        events.update(result=Result.REFUTED, handled_at=None)
        record(
            "webhook.refuted",
            actor=ACTOR,
            connection=message.connection_id,
            message=message.public_id,
            details={"event": ", ".join(dict.fromkeys(names)), "explanation": explanation},
        )
    return bool(names)


def _forget_report(message: Message) -> None:
    message.reported = ""
    message.save(update_fields=["reported"])
