"""What the desk knows of its webhook at MultiMail: as what it is registered, and that a test came in."""

from urllib.parse import urlsplit

from django.conf import settings
from django.db.models.functions import Now
from django.urls import reverse

from audit.recording import changed, record
from common.origins import is_public
from common.postgres.anew import atomic_anew
from connections.accounts import rights
from mirror.models import Connection, WebhookEvent
from people.actors import Actor

# What the desk wants to hear of. Only a gateway of this product knows the names of the last two.
EVENTS = (
    *("oversight.pending", "oversight.approved", "oversight.rejected"),
    *("message.sent", "message.delivered", "message.bounced", "message.complained", "message.received"),
)
OWN_EVENTS = ("message.cancelled", "message.failed")


def address_of(connection: Connection) -> str:
    """Return where MultiMail sends this connection's events."""
    return f"{settings.PUBLIC_URL}{reverse('multimail-webhook', args=[connection.webhook_id])}"


def wanted_events(connection: Connection) -> list[str]:
    """Return what to subscribe to."""
    return [*EVENTS, *(OWN_EVENTS if connection.is_our_gateway else ())]


def unreachable_because(connection: Connection) -> str:
    """Return why MultiMail cannot reach the webhook's address, as far as the address tells; else nothing."""
    if _is_of_this_machine(connection.api_url) or not _is_of_this_machine(settings.PUBLIC_URL):
        return ""
    return (
        f"MultiMail cannot reach {settings.PUBLIC_URL}: that address means this machine alone. Set PUBLIC_URL to the "
        "address that others open the desk by, and start it again. Until then held mail is found by reading, every "
        "half minute."
    )


def _is_of_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return not is_public(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@atomic_anew
def note_registered(*, connection: Connection, webhook_id: str, actor: Actor) -> Connection:
    """Write down as what the webhook is registered at MultiMail."""
    locked = rights.lock(connection, actor)
    before, locked.upstream_webhook_id = locked.upstream_webhook_id, webhook_id
    locked.save(update_fields=["upstream_webhook_id"])
    details = {"explanation": address_of(locked), **changed(before=before, after=webhook_id)}
    record("hook.registered", actor=actor, connection=locked.pk, details=details)
    return locked


def event_of(connection: Connection, event_id: str) -> WebhookEvent | None:
    """Return the event with this id, once it came in."""
    return WebhookEvent.objects.filter(connection=connection, event_id=event_id).first() if event_id else None


@atomic_anew
def note_tested(*, connection: Connection, actor: Actor) -> None:
    """Write down that a test came in just now."""
    locked = rights.lock(connection, actor)
    Connection.objects.filter(pk=locked.pk).update(webhook_tested_at=Now())
    record("hook.tested", actor=actor, connection=locked.pk, details={"explanation": "The event arrived."})
