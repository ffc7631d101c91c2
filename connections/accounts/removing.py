"""Takes a connection off the desk: without keys and secrets, never asked again. What it did stays to be looked up."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models.functions import Now

from approvals.models import Decision
from approvals.reconcile.closing import leave_queue
from audit.recording import changed, record
from common.postgres.anew import atomic_anew
from connections.accounts import rights
from connections.errors import ConnectionNotChanged
from mirror.models import Connection, Message
from mirror.states import MessageState
from people.actors import Actor
from policy.models import KillSwitch

_KEYS = ("oversight_key", "read_key", "admin_key", "agent_key")
REMOVED = "It was removed from the desk."


@dataclass(frozen=True)
class Remains:
    """What speaks against removing a connection, as a sentence, and how much mail still waits there."""

    problem: str
    waiting: int


def what_remains(connection: Connection) -> Remains:
    """Return what would have to end first, and what would leave the queue."""
    held = Message.objects.filter(connection=connection, state=MessageState.HELD)
    return Remains(_problem(connection), held.count())


@atomic_anew
def remove_connection(*, connection: Connection, typed_name: str, actor: Actor, now: datetime) -> Connection:
    """Remove it for good. Mail that waits leaves the queue and stays held at MultiMail; all history stays.

    Raises ConnectionNotChanged while decisions are under way, a kill switch stops it, or its name was not typed.
    """
    rights.check_may_add(actor)
    # Not only its key: nothing may come in while it goes.
    locked = Connection.objects.select_for_update().get(pk=connection.pk)
    rights.check_may_change(actor, locked)
    if typed_name.strip() != locked.name:
        raise ConnectionNotChanged(f"Type the connection's name, {locked.name}, to remove it.")
    # Whoever decides one of these now waits here, and then finds it gone.
    waiting = Message.objects.filter(connection=locked, state=MessageState.HELD).order_by("pk")
    held = list(waiting.select_for_update(of=("self",), no_key=True))
    if problem := _problem(locked):
        raise ConnectionNotChanged(problem)
    for message in held:
        leave_queue(message, actor, now)
    _empty(locked)
    details = {"explanation": locked.name, **changed(before=f"name: {locked.name}; at: {locked.api_url}", after="")}
    record("connection.removed", actor=actor, connection=locked.pk, details=details)
    return locked


def _problem(connection: Connection) -> str:
    switch = KillSwitch.objects.stopping(connection=connection.pk, mailbox=None).first()
    if switch is not None:
        return (
            f"The {switch} is pulled: {switch.reason} Somebody stopped this on purpose. Release it first, then remove "
            "the connection."
        )
    if Connection.objects.filter(pk=connection.pk, reading_until__gt=Now()).exists():
        return "It is being read at this moment. Try again in a few seconds."
    live = Decision.objects.live().filter(message__connection=connection).count()
    if not live:
        return ""
    are = "1 decision is" if live == 1 else f"{live} decisions are"
    return (
        f"{are} still on the way to MultiMail, and what becomes of them could not be learned any more. Wait until they "
        "are carried out, or undo them on their pages; what is in doubt stands under Needs attention."
    )


def _empty(locked: Connection) -> None:
    """Blank what is secret, and stop it: whatever asks for connections that are well leaves it out twice."""
    for name in (*_KEYS, "webhook_secret", "previous_webhook_secret"):
        setattr(locked, name, "")
    locked.previous_secret_until = None
    locked.key_scopes, locked.checked_key, locked.last_error = {}, "", ""
    locked.failing_since, locked.wait_until = None, None
    locked.upstream_webhook_id = ""
    locked.paused_by_hand, locked.paused_because = True, REMOVED
    locked.save()
    Connection.objects.filter(pk=locked.pk).update(removed_at=Now(), paused_at=Now())
    locked.refresh_from_db()
