"""Reads of the ledger for other apps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from audit.models import Entry, EntryQuerySet


@dataclass(frozen=True)
class Line:
    """One entry, ready to show; `details` are empty where retention removed them."""

    entry: Entry
    details: dict[str, str]
    about: str = ""

    @property
    def is_redacted(self) -> bool:
        """Whether its personal details were removed. Each entry had some, and still has their hashes."""
        return bool(self.entry.detail_hashes) and not self.details

    @property
    def subject(self) -> str:
        """The subject of the message, from this entry or from another about it."""
        return self.details.get("subject") or self.about

    @property
    def actor(self) -> str:
        """The actor, by name unless the details were removed."""
        return self.details.get("actor", f"{self.entry.actor_kind} {self.entry.actor_id}")

    @property
    def trigger(self) -> dict[str, str]:
        """What the sender wrote about who started the message."""
        return {
            name.removeprefix("trigger."): value for name, value in self.details.items() if name.startswith("trigger.")
        }

    def as_json(self) -> dict[str, Any]:
        """Return the entry for scripts."""
        entry = self.entry
        return {
            "id": entry.pk,
            "at": entry.at.isoformat(),
            "action": entry.action,
            "actor_kind": entry.actor_kind,
            "actor_id": entry.actor_id,
            "actor": self.actor,
            "surface": entry.surface,
            "connection": entry.connection,
            "message": str(entry.message) if entry.message else None,
            "fingerprint": entry.fingerprint,
            "trace": entry.trace,
            "hash": entry.hash,
            "details": self.details,
            "details_removed": self.is_redacted,
        }


def recorded_actions(*, message: UUID, actions: Sequence[str], actor_id: str, fingerprint: str) -> set[str]:
    """Return which of these actions of the actor on this version of the message are recorded already."""
    done = _of_actor(message, actor_id, fingerprint).filter(action__in=actions)
    return set(done.values_list("action", flat=True).distinct())


def recorded_versions(
    *, messages: Sequence[UUID], actions: Sequence[str], actor_id: str
) -> set[tuple[str, UUID | None, str]]:
    """Return which of these actions of the actor are recorded for which versions of these messages, in one query."""
    done = Entry.objects.of_messages(set(messages)).filter(action__in=actions, actor_id=actor_id)
    return set(done.values_list("action", "message", "fingerprint"))


def first_at(*, message: UUID, action: str, actor_id: str, fingerprint: str) -> datetime | None:
    """Return when the actor first did this to this version of the message."""
    done = _of_actor(message, actor_id, fingerprint).of_action(action)
    return done.oldest_first().values_list("at", flat=True).first()


def _of_actor(message: UUID, actor_id: str, fingerprint: str) -> EntryQuerySet:
    return Entry.objects.of_message(message).filter(actor_id=actor_id, fingerprint=fingerprint)


def last_of(*, message: UUID, actions: tuple[str, ...]) -> str:
    """Return the last of these actions on the message, by the order of entries and not by any clock; empty for none."""
    done = Entry.objects.of_message(message).filter(action__in=actions)
    return done.newest_first().values_list("action", flat=True).first() or ""


def lines(entries: Any) -> list[Line]:
    """Return entries with their details."""
    return [line_of(entry) for entry in entries.with_details()]


def line_of(entry: Any) -> Line:
    """Return an entry that was read `with_details`."""
    return Line(entry, entry.details or {})


def with_subjects(shown: list[Line]) -> list[Line]:
    """Return the lines with the subjects of their messages, which most entries do not repeat, in one more query."""
    wanted = {line.entry.message for line in shown if line.entry.message and not line.details.get("subject")}
    actions = ("message.held", "message.fetched", "message.changed", "message.named")
    naming = Entry.objects.of_messages(wanted).filter(action__in=actions)
    known = dict(naming.oldest_first().values_list("message", "detail__fields__subject"))
    return [replace(line, about=known.get(line.entry.message) or "") for line in shown]
