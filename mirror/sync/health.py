"""Writes down on a connection how well MultiMail answers: failing, well again, paused. Each change is recorded once."""

import logging
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models.functions import Coalesce, Greatest, Now

from audit.recording import record
from mirror.models import Connection
from people.actors import Actor, worker

log = logging.getLogger(__name__)

ACTOR = worker("sync")


@transaction.atomic
def note_failure(connection: Connection, sentence: str) -> None:
    """It could not be read: from now on it is only probed until a whole read works."""
    began = Connection.objects.filter(pk=connection.pk, failing_since=None).update(failing_since=Now())
    Connection.objects.filter(pk=connection.pk).exclude(last_error=sentence).update(last_error=sentence)
    if began:
        record("connection.failing", actor=ACTOR, connection=connection.pk, details={"explanation": sentence})
        log.warning("MultiMail unreachable", extra={"connection": connection.slug, "reason": sentence})


@transaction.atomic
def note_recovery(connection: Connection, *, began: datetime) -> None:
    """A whole read worked: the key is good, also where one that was refused before it began had paused it.

    What a person paused stays so.
    """
    mine = Connection.objects.filter(pk=connection.pk)
    kept_paused = mine.filter(paused_by_hand=True).exclude(failing_since=None).update(failing_since=None, last_error="")
    unwell = mine.filter(paused_by_hand=False).exclude(failing_since=None, paused_at=None)
    well = unwell.exclude(paused_at__gte=began).update(
        failing_since=None, last_error="", paused_at=None, paused_because=""
    )
    if kept_paused or well:
        record("connection.recovered", actor=ACTOR, connection=connection.pk)


def tell_of_staleness() -> int:
    """Record of each connection, once a spell, that it was not read for long, and that it was again."""
    keys = Connection.objects.turned_stale().values_list("pk", flat=True)
    again = Connection.objects.turned_fresh().values_list("pk", flat=True)
    return sum(_tell_stale(key) for key in keys) + sum(_tell_fresh(key) for key in again)


@transaction.atomic
def _tell_stale(key: int) -> bool:
    # Asked again in the write itself: another sweep may have told it, or a read have ended.
    if not Connection.objects.turned_stale().filter(pk=key).update(stale_since=Now()):
        return False
    as_of = Connection.objects.values_list("complete_as_of", flat=True).get(pk=key)
    said = f"It was last read whole at {as_of:%Y-%m-%d %H:%M} UTC." if as_of else "It was never read whole."
    record("connection.stale", actor=ACTOR, connection=key, details={"explanation": said})
    return True


@transaction.atomic
def _tell_fresh(key: int) -> bool:
    if not Connection.objects.turned_fresh().filter(pk=key).update(stale_since=None):
        return False
    record("connection.fresh_again", actor=ACTOR, connection=key)
    return True


def wait(connection: Connection, seconds: float) -> None:
    """After a 429 the whole connection waits; a shorter wait never ends a longer one."""
    until = Now() + timedelta(seconds=seconds)
    Connection.objects.filter(pk=connection.pk).update(wait_until=Greatest(Coalesce("wait_until", until), until))


@transaction.atomic
def pause(connection: Connection, because: str, *, actor: Actor = ACTOR) -> None:
    """Nothing is decided through it until a whole read works again."""
    going = Connection.objects.filter(pk=connection.pk, paused_at=None)
    if going.update(paused_at=Now(), paused_because=because):
        record("connection.paused", actor=actor, connection=connection.pk, details={"explanation": because})
        log.warning("connection paused", extra={"connection": connection.slug, "reason": because})
