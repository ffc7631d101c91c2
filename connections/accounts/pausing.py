"""Pauses a connection by hand, and lets it go on. A read that works ends the desk's own pauses, but never these."""

from django.db.models.functions import Now

from audit.recording import changed, record
from common.nudge import nudge
from common.postgres.anew import atomic_anew
from connections.accounts import rights
from connections.errors import ConnectionNotChanged
from mirror.models import Connection
from people.actors import Actor

MAX_REASON = 500


@atomic_anew
def pause_by_hand(*, connection: Connection, reason: str, actor: Actor) -> Connection:
    """Carry out no decision through it until somebody lets it go on. What is decided meanwhile stays recorded."""
    locked = rights.lock(connection, actor)
    if not reason.strip():
        raise ConnectionNotChanged("Say why: whoever finds the mail waiting must know what to wait for.")
    if locked.paused_by_hand:
        raise ConnectionNotChanged(f"It is paused already: {locked.paused_because}")
    because = f"{reason.strip()[:MAX_REASON]} ({actor.label})"
    Connection.objects.filter(pk=locked.pk).update(paused_at=Now(), paused_because=because, paused_by_hand=True)
    details = {"reason": reason.strip(), **changed(before=_standing(locked), after="paused by hand")}
    record("connection.paused_by_hand", actor=actor, connection=locked.pk, details=details)
    locked.refresh_from_db()
    return locked


@atomic_anew
def resume(*, connection: Connection, actor: Actor) -> Connection:
    """Let a connection go on that a person paused. It is read at once, and what is due leaves."""
    locked = rights.lock(connection, actor)
    if not locked.paused_by_hand:
        raise ConnectionNotChanged("Nobody paused it by hand. A pause of the desk ends with the first read that works.")
    fresh = {"paused_at": None, "paused_because": "", "paused_by_hand": False, "read_at": None}
    Connection.objects.filter(pk=locked.pk).update(**fresh)
    details = {"reason": locked.paused_because, **changed(before="paused by hand", after="at work")}
    record("connection.resumed", actor=actor, connection=locked.pk, details=details)
    nudge("approvals.tasks.execute_due", locked.pk)
    locked.refresh_from_db()
    return locked


def _standing(connection: Connection) -> str:
    return f"paused by the desk: {connection.paused_because}" if connection.paused_at else "at work"
