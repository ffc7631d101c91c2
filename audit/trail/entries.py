"""Reads of the ledger for other apps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from audit.models import Entry
from common.postgres.statements import ANY_ID, Part, any_of, first_of, told_together


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
        """What the message was called, by this entry or by another that told it."""
        return self.details.get("subject") or self.about

    @property
    def actor(self) -> str:
        """Who did it, by name where the details still tell."""
        return self.details.get("actor", f"{self.entry.actor_kind} {self.entry.actor_id}")

    @property
    def trigger(self) -> dict[str, str]:
        """What the sender said of who started the message."""
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
            "leaf_hash": entry.leaf_hash,
            "details": self.details,
            "details_removed": self.is_redacted,
        }


def recorded_actions(*, message: UUID, actions: Sequence[str], actor_id: str, fingerprint: str) -> set[str]:
    """Return which of these acts the ledger already tells of the actor and this version of the message."""
    parts = {one: _done()["any"].naming(_named(message, one, actor_id, fingerprint)) for one in actions}
    told = told_together(parts)
    return {one for one in actions if told[one]}


def recorded_versions(*, messages: Sequence[UUID], action: str, actor_id: str) -> set[tuple[UUID | None, str]]:
    """Return of which versions of these messages the ledger says that the actor did this, in one query."""
    done = Entry.objects.of_messages(set(messages)).filter(action=action, actor_id=actor_id)
    return set(done.values_list("message", "fingerprint"))


def first_at(*, message: UUID, action: str, actor_id: str, fingerprint: str) -> datetime | None:
    """Return when the actor first did this to this version of the message."""
    told = told_together({"first": _done()["first"]}, _named(message, action, actor_id, fingerprint))
    first: datetime | None = told["first"]
    return first


@cache
def _done() -> dict[str, Part]:
    """Return how to ask what an actor did to a version of a message, by values that are named later."""
    done = Entry.objects.of_message(ANY_ID).filter(action="{action}", actor_id="{actor}", fingerprint="{fingerprint}")
    return {"any": any_of(done), "first": first_of(done.oldest_first().values_list("at"))}


def _named(message: UUID, action: str, actor_id: str, fingerprint: str) -> dict[Any, Any]:
    return {ANY_ID: message, "{action}": action, "{actor}": actor_id, "{fingerprint}": fingerprint}


def last_of(*, message: UUID, actions: tuple[str, ...]) -> str:
    """Return which of these acts was the last on the message; by the order of entries, not by any clock."""
    return (
        Entry.objects.of_message(message)
        .filter(action__in=actions)
        .newest_first()
        .values_list("action", flat=True)
        .first()
        or ""
    )


def lines(entries: Any) -> list[Line]:
    """Return entries with their details, in one more query."""
    found = list(entries.select_related("detail"))
    return [Line(entry, dict(entry.detail.fields) if hasattr(entry, "detail") else {}) for entry in found]


def with_subjects(shown: list[Line]) -> list[Line]:
    """Return the lines with the subjects of their messages, which most entries do not repeat, in one more query."""
    wanted = {line.entry.message for line in shown if line.entry.message and not line.details.get("subject")}
    telling = Entry.objects.of_messages(wanted).filter(
        action__in=("message.held", "message.fetched", "message.changed", "message.named")
    )
    known = {line.entry.message: line.details.get("subject", "") for line in lines(telling.oldest_first())}
    return [replace(line, about=known.get(line.entry.message, "")) for line in shown]
