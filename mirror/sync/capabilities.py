"""What MultiMail can do at each connection: learnt daily by reads, and by the fields
that its calls refuse.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from django.db import transaction
from django.db.models.functions import Now

from audit.recording import changed, record
from common.actors import Actor
from mirror.models import Connection
from mirror.sync.health import ACTOR
from upstream import errors
from upstream.capabilities import WORDS, Capability, read_capabilities

T = TypeVar("T")
EVERY = timedelta(days=1)
# After a survey that MultiMail did not answer.
AGAIN = timedelta(minutes=10)


def learn(*, connection_id: int) -> str:
    """Ask MultiMail what it can do, if that is due, and store and tell what changed;
    return a short word.
    """
    due = Connection.objects.to_survey().filter(pk=connection_id)
    if not due.update(surveyed_at=Now()):
        return "not due"
    connection = Connection.objects.get(pk=connection_id)
    keys = {
        slot: getattr(connection, f"{slot}_key")
        for slot in ("oversight", "read", "admin")
    }
    found = read_capabilities(api_url=connection.api_url, keys=keys)
    if all(one.is_there is None for one in found):
        Connection.objects.filter(pk=connection_id).update(
            surveyed_at=Now() - EVERY + AGAIN
        )
        return "not now"
    return _store(connection_id, found, keys)


@transaction.atomic
def _store(connection_id: int, found: list[Capability], keys: dict[str, str]) -> str:
    """Store what was seen. What could not be seen this time stays as it was, unless its
    key is gone.
    """
    locked = Connection.objects.select_for_update(no_key=True).get(pk=connection_id)
    before: dict[str, bool] = locked.capabilities
    stored = {
        name: is_there
        for name, is_there in before.items()
        if name in WORDS and keys[WORDS[name][1]]
    }
    stored |= {one.name: one.is_there for one in found if one.is_there is not None}
    Connection.objects.filter(pk=connection_id).update(capabilities=stored)
    news = [
        name
        for name, is_there in stored.items()
        if before.get(name, is_there) != is_there
    ]
    if not news:
        return "as before" if before else "learnt"
    after = _in_words(stored, news)
    words = changed(before=_in_words(before, news), after=after)
    record(
        "connection.capability_changed",
        actor=ACTOR,
        connection=connection_id,
        details={"explanation": f"Seen now: {after}.", **words},
    )
    return "changed"


def _in_words(known: dict[str, bool], names: list[str]) -> str:
    return "; ".join(
        f"{WORDS[name][0]}: {'yes' if known[name] else 'no'}" for name in names
    )


def without_refused(connection: Connection, call: Callable[..., T]) -> T:
    """Make a call `without` the fields that MultiMail refused here before, and again
    without those that it refuses now.

    A 422 has no effect, and each one leaves out at least one field more.
    """
    while True:
        try:
            return call(without=connection.refused_fields)
        except errors.FieldsRefused as error:
            note_refused(connection, error)


@transaction.atomic
def note_refused(
    connection: Connection, error: errors.FieldsRefused, *, actor: Actor = ACTOR
) -> None:
    """Remember the fields that MultiMail does not take here; the ledger tells of each
    once.
    """
    rows = Connection.objects.filter(pk=connection.pk)
    locked = rows.select_for_update(no_key=True)
    before: list[str] = locked.values_list("refused_fields", flat=True).get()
    new = [name for name in error.fields if name not in before]
    connection.refused_fields = [*before, *new]
    if new:
        rows.update(refused_fields=connection.refused_fields)
        explanation = f"{error.sentence} Left out from now on: {', '.join(new)}."
        record(
            "connection.fields_refused",
            actor=actor,
            connection=connection.pk,
            details={"explanation": explanation},
        )
