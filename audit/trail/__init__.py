"""The audit trail of a message, from its entries alone, so that it outlives every row
of the mirror; here are the reads of the ledger for other apps.

It must not query anything but the ledger. Start reading at `views.message_trail`, then
`answers`.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from audit.models import Entry, EntryQuerySet


def recorded_actions(
    *, message: UUID, actions: Sequence[str], actor_id: str, fingerprint: str
) -> set[str]:
    """Return which of these actions of the actor on this version of the message are
    recorded already.
    """
    done = _of_actor(message, actor_id, fingerprint).filter(action__in=actions)
    return set(done.values_list("action", flat=True).distinct())


def recorded_versions(
    *, messages: Sequence[UUID], actions: Sequence[str], actor_id: str
) -> set[tuple[str, UUID | None, str]]:
    """Return which of these actions of the actor are recorded for which versions of
    these messages, in one query.
    """
    return set(
        Entry.objects.of_messages(set(messages))
        .filter(action__in=actions, actor_id=actor_id)
        .values_list("action", "message", "fingerprint")
    )


def first_at(
    *, message: UUID, action: str, actor_id: str, fingerprint: str
) -> datetime | None:
    """Return when the actor first did this to this version of the message."""
    done = _of_actor(message, actor_id, fingerprint).of_action(action)
    return done.oldest_first().values_list("at", flat=True).first()


def _of_actor(message: UUID, actor_id: str, fingerprint: str) -> EntryQuerySet:
    return Entry.objects.of_message(message).filter(
        actor_id=actor_id, fingerprint=fingerprint
    )


def last_of(*, message: UUID, actions: tuple[str, ...]) -> str:
    """Return the last of these actions on the message, by the order of entries and not
    by any clock; empty for none.
    """
    return (
        Entry.objects.of_message(message)
        .filter(action__in=actions)
        .newest_first()
        .values_list("action", flat=True)
        .first()
        or ""
    )


def lines(entries: EntryQuerySet) -> list[Entry]:
    """Return entries with their details."""
    return list(entries.with_details())


def with_subjects(shown: list[Entry]) -> list[Entry]:
    """Add the subjects of their messages, which most entries do not repeat, in one more
    query.
    """
    wanted = {
        line.message
        for line in shown
        if line.message and not line.details.get("subject")
    }
    actions = ("message.held", "message.fetched", "message.changed", "message.named")
    known = dict(
        Entry.objects.of_messages(wanted)
        .filter(action__in=actions)
        .oldest_first()
        .values_list("message", "detail__fields__subject")
    )
    for line in shown:
        line.about = known.get(line.message) or ""
    return shown
