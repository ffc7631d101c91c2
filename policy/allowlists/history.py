"""The history of allowlists as it is shown: what each change was from and to, with the names of owners."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from people.models import Person
from policy.allowlists.wording import mode_words
from policy.models import AllowChange


@dataclass(frozen=True)
class ToldChange:
    """One change with its entry before and after in words; empty where there was none."""

    change: AllowChange
    before: str = ""
    after: str = ""
    mode_before: str = ""
    mode_after: str = ""


def told_changes(changes: Iterable[AllowChange]) -> list[ToldChange]:
    """Return changes in words, with one question for all owners."""
    listed = list(changes)
    owners = {state.get("owner") for one in listed for state in (one.before, one.after)} - {None}
    names = {pk: str(person) for pk, person in Person.objects.in_bulk(owners).items()}
    return [_told(one, names) for one in listed]


def _told(one: AllowChange, names: Mapping[int, str]) -> ToldChange:
    if one.what == AllowChange.What.MODE:
        modes = (mode_words(one.allowlist.kind, str(state.get("mode"))).name for state in (one.before, one.after))
        return ToldChange(one, "", "", *modes)
    return ToldChange(one, _words(one.before, names), _words(one.after, names))


def _words(state: Mapping[str, Any], names: Mapping[int, str]) -> str:
    if not state:
        return ""
    note = f"“{state['note']}”" if state.get("note") else "no note"
    owner = names.get(state.get("owner") or 0, "")
    ends = state.get("expires_at")
    until = f"ends {datetime.fromisoformat(ends).astimezone(UTC):%Y-%m-%d %H:%M} UTC" if ends else "never ends"
    return ", ".join(part for part in (note, f"owner {owner}" if owner else "no owner", until) if part)
