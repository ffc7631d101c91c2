"""Lets an admin deal with a webhook that was kept but not applied: apply it again with today's code, or put it away.

A replay goes the way of every webhook (ingest.apply_event): it can no more move a message backwards than the first
arrival could.
"""

import logging

from django.db import OperationalError, transaction
from django.db.models.functions import Now

from approvals.errors import EventAlreadyHandled
from approvals.intake import ingest
from audit.recording import record
from common.postgres.rows import one_by_one
from mirror.errors import ActNotAllowed
from mirror.models import WebhookEvent
from people.actors import Actor, Role
from upstream.events import MisshapenEvent, UnreadableEvent, parse

log = logging.getLogger(__name__)

Result = WebhookEvent.Result


@transaction.atomic
def replay_event(*, event_id: int, actor: Actor) -> str:
    """Apply a kept event again and return its new result; one that worked needs no more looking at.

    Raises EventAlreadyHandled where there is nothing left to replay, ActNotAllowed for whoever is no admin there.
    """
    row = _take(event_id, actor)
    applied, row.error = _apply(row, actor)
    row.result = applied.result
    handled_at = None if row.result == Result.POISON or applied.contradicts else Now()
    WebhookEvent.objects.filter(pk=row.pk).update(result=row.result, error=row.error, handled_at=handled_at)
    _record("webhook.replayed", row, actor, explanation=row.error)
    return row.result


@transaction.atomic
def dismiss_event(*, event_id: int, actor: Actor) -> WebhookEvent:
    """Put a kept event away without applying it. Raises as `replay_event` does."""
    row = _take(event_id, actor)
    WebhookEvent.objects.filter(pk=row.pk).update(handled_at=Now())
    _record("webhook.dismissed", row, actor, explanation=row.error)
    return row


def _take(event_id: int, actor: Actor) -> WebhookEvent:
    # Only the row: whatever comes in for its connection meanwhile need not wait.
    rows = WebhookEvent.objects.to_look_at().select_for_update(of=("self",), no_key=True)
    row = rows.select_related("connection").filter(pk=event_id).first()
    if row is None:
        raise EventAlreadyHandled("Nothing is left to do about this event: somebody has dealt with it.")
    if not actor.is_a(Role.ADMIN, connection=row.connection_id, mailbox=None):
        raise ActNotAllowed("Only an admin of this connection can deal with its events.")
    return row


def _apply(row: WebhookEvent, actor: Actor) -> tuple[ingest.Applied, str]:
    try:
        event = parse(bytes(row.body))
        # One by one: a mistake in an alert costs no more than the alert.
        with one_by_one(), transaction.atomic():
            applied = ingest.apply_event(connection=row.connection, event=event, actor=actor)
    except (UnreadableEvent, MisshapenEvent) as error:
        return ingest.Applied(Result.POISON), str(error)
    except OperationalError:
        raise
    except Exception as error:
        log.exception("webhook not replayed", extra={"event": row.pk, "connection": row.connection.slug})
        return ingest.Applied(Result.POISON), f"{type(error).__name__} while applying; see the log."
    return applied, ""


def _record(action: str, row: WebhookEvent, actor: Actor, *, explanation: str) -> None:
    record(
        action,
        actor=actor,
        connection=row.connection_id,
        details={"event": row.name, "result": row.result, "explanation": explanation},
    )
