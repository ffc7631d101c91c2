"""The audit trail of a message: a page of all its entries, with answers in sentences,
and proofs as files. This module has the queries of the ledger that other apps use.

Everything here reads only the ledger, so that a trail can still be shown when the
message itself was deleted. Start reading at `views.message_trail`, then `answers`.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from audit.models import Entry, EntryQuerySet


def recorded_actions(
    *, message: UUID, actions: Sequence[str], actor_id: str, fingerprint: str
) -> set[str]:
    """Return which of these actions the actor has already done to the version of the
    message with this fingerprint.
    """
    done = _of_actor(message, actor_id, fingerprint).filter(action__in=actions)
    return set(done.values_list("action", flat=True).distinct())


def recorded_versions(
    *, messages: Sequence[UUID], actions: Sequence[str], actor_id: str
) -> set[tuple[str, UUID | None, str]]:
    """Return (action, message, fingerprint) for each of these actions that the actor
    has done to a version of these messages, in one query.
    """
    return set(
        Entry.objects.of_messages(messages)
        .filter(action__in=actions, actor_id=actor_id)
        .values_list("action", "message", "fingerprint")
    )


def first_at(
    *, message: UUID, action: str, actor_id: str, fingerprint: str
) -> datetime | None:
    """Return when the actor first did this to this version of the message; or None."""
    done = _of_actor(message, actor_id, fingerprint).of_action(action)
    return done.oldest_first().values_list("at", flat=True).first()


def _of_actor(message: UUID, actor_id: str, fingerprint: str) -> EntryQuerySet:
    return Entry.objects.of_message(message).filter(
        actor_id=actor_id, fingerprint=fingerprint
    )


def last_of(*, message: UUID, actions: tuple[str, ...]) -> str:
    """Return which of these actions was recorded last for the message; empty if none
    was. The order of entries counts, not their times.
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
    """Return entries as a list, with their details."""
    return list(entries.with_details())


def with_subjects(shown: list[Entry]) -> list[Entry]:
    """Set the subject of its message (`about`) on each entry, in one query. Most
    entries do not have it in their details.
    """
    wanted = {
        entry.message
        for entry in shown
        if entry.message and not entry.details.get("subject")
    }
    actions = ("message.held", "message.fetched", "message.changed", "message.named")
    subjects = dict(
        Entry.objects.of_messages(wanted)
        .filter(action__in=actions)
        .oldest_first()
        .values_list("message", "detail__fields__subject")
    )
    for entry in shown:
        entry.about = subjects.get(entry.message) or ""
    return shown
