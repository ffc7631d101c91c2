"""Changes the secret that signs a connection's webhooks, so that no valid event is refused at any moment.

The new secret is taken here before MultiMail hears of it, and the old one until MultiMail certainly signs with it no
more: each step leaves a state in which both sides can stop, also for ever. `previous_secret_until` is empty as long as
MultiMail has not said since when the new one signs; until then both are taken.
"""

from datetime import timedelta

from django.db.models.functions import Now

from audit.recording import changed, record
from common.postgres import clock
from common.postgres.anew import atomic_anew
from connections.accounts import rights
from connections.accounts.adding import new_secret
from connections.errors import ConnectionNotChanged
from mirror.models import Connection
from people.actors import Actor

# An event that was signed just before the change may still be on its way, and the two clocks may differ.
MARGIN = timedelta(minutes=5)
OVERLAPS = {
    "day": ("The old one is taken for a day more", timedelta(days=1)),
    "hour": ("For an hour more", timedelta(hours=1)),
    "none": ("It leaked: change at once", timedelta(0)),
}
# Which secrets are taken, as the ledger tells it.
ONE, BOTH = "one secret is taken", "the old and the new secret are taken"
_SECRETS = ["webhook_secret", "previous_webhook_secret", "previous_secret_until"]


def is_open(connection: Connection) -> bool:
    """Whether a change of secrets was begun that MultiMail may not know of."""
    return bool(connection.previous_webhook_secret) and connection.previous_secret_until is None


@atomic_anew
def begin_rotation(*, connection: Connection, actor: Actor) -> Connection:
    """Take a new secret beside the one that signs. The old one has no end yet: MultiMail has not heard of the new."""
    locked = rights.lock(connection, actor)
    if is_open(locked):
        return locked
    _check_room(locked)
    locked.previous_webhook_secret, locked.webhook_secret = locked.webhook_secret, new_secret()
    locked.previous_secret_until = None
    locked.save(update_fields=_SECRETS)
    _record(locked, actor, "It began.", before=ONE, after=BOTH)
    return locked


@atomic_anew
def finish_rotation(*, connection: Connection, overlap: timedelta, actor: Actor) -> Connection:
    """MultiMail knows the new secret: the old one is taken for the overlap and a margin, and then no more."""
    locked = rights.lock(connection, actor)
    if is_open(locked):
        locked.previous_secret_until = clock() + overlap + MARGIN
        locked.save(update_fields=_SECRETS)
        until = f"The old one is taken until {locked.previous_secret_until:%Y-%m-%d %H:%M} UTC."
        _record(locked, actor, until, before=BOTH, after=f"{BOTH} for a time")
    return locked


@atomic_anew
def give_up_rotation(*, connection: Connection, actor: Actor, because: str) -> Connection:
    """MultiMail certainly did not hear of the new secret: the old one stays the only one."""
    locked = rights.lock(connection, actor)
    if is_open(locked):
        locked.webhook_secret, locked.previous_webhook_secret = locked.previous_webhook_secret, ""
        locked.save(update_fields=_SECRETS)
        _record(locked, actor, f"It was given up: {because}", before=BOTH, after=ONE)
    return locked


@atomic_anew
def take_secret(*, connection: Connection, secret: str, overlap: timedelta, actor: Actor) -> Connection:
    """Take a secret that a person puts into MultiMail by hand, or found there; the old one for the overlap too."""
    locked = rights.lock(connection, actor)
    if secret == locked.webhook_secret:
        raise ConnectionNotChanged("That is the secret which is taken already.")
    _check_room(locked)
    locked.previous_webhook_secret = locked.webhook_secret
    locked.webhook_secret = secret
    locked.previous_secret_until = clock() + overlap + MARGIN
    locked.save(update_fields=_SECRETS)
    until = f"By hand; the old one is taken until {locked.previous_secret_until:%Y-%m-%d %H:%M} UTC."
    _record(locked, actor, until, before=ONE, after=f"{BOTH} for a time")
    return locked


@atomic_anew
def end_overlap(*, connection: Connection, actor: Actor) -> Connection:
    """Take the old secret no more from now on."""
    locked = rights.lock(connection, actor)
    if is_open(locked):
        raise ConnectionNotChanged("MultiMail may still sign with the old secret. Finish the change first.")
    if not locked.previous_webhook_secret:
        return locked
    locked.previous_webhook_secret, locked.previous_secret_until = "", None
    locked.save(update_fields=_SECRETS)
    _record(locked, actor, "The old one is taken no more.", before=BOTH, after=ONE)
    return locked


def _record(locked: Connection, actor: Actor, explanation: str, *, before: str, after: str) -> None:
    details = {"explanation": explanation, **changed(before=before, after=after)}
    record("connection.secret_rotated", actor=actor, connection=locked.pk, details=details)


def _check_room(locked: Connection) -> None:
    """Two secrets can be taken at a time; a third would put one out that may still sign."""
    overlaps = Connection.objects.filter(pk=locked.pk, previous_secret_until__gt=Now()).exclude(
        previous_webhook_secret=""
    )
    if is_open(locked) or overlaps.exists():
        until = f" until {locked.previous_secret_until:%-d %b, %H:%M} UTC" if locked.previous_secret_until else ""
        raise ConnectionNotChanged(
            f"The secret before this one is still taken{until}, and two are the most. Wait until then."
        )
