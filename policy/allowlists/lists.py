"""Allowlists as their pages name them: the list that a URL means, kinds and modes in words, the history in words."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.urls import reverse

from audit.recording import record
from mirror.models import Connection, Mailbox
from people.actors import Actor
from people.models import Person
from policy.allowlists.changes import may_change
from policy.allowlists.judgement import ListScope
from policy.models import AllowChange, Allowlist


@dataclass(frozen=True)
class ModeWords:
    """A mode of a kind: its name, its tone, and what it does."""

    mode: str
    name: str
    tone: str
    means: str


KINDS: Mapping[str, str] = {"restriction": "Allowed recipients", "bypass": "Whose mail need not wait"}

_RESTRICTION = (
    ModeWords("off", "Off", "plain", "Refuses nobody; its entries do not count."),
    ModeWords("monitor", "Monitor", "blue", "Refuses nobody, and notes who would be refused."),
    ModeWords("contacts", "Contacts and entries", "green", "Lets through who is a contact of the account, or named."),
    ModeWords("enforce", "Enforce", "green", "Lets through only who is named. An empty list blocks everyone."),
)
_BYPASS = (
    ModeWords("off", "Off", "plain", "Everything waits for a decision."),
    ModeWords("monitor", "Monitor", "blue", "Everything waits; what would not have waited is noted."),
    ModeWords("enforce", "Enforce", "rose", "Mail leaves unread where all of its recipients are named."),
)


def modes_of(kind: str) -> tuple[ModeWords, ...]:
    """Return the modes that a list of this kind can have."""
    return _BYPASS if kind == "bypass" else _RESTRICTION


def mode_words(kind: str, mode: str) -> ModeWords:
    """Return the words of one mode."""
    return next((one for one in modes_of(kind) if one.mode == mode), _RESTRICTION[0])


ALL = "all"
_SCOPE = re.compile(r"(connection|mailbox)-([0-9]{1,18})")


@dataclass(frozen=True)
class ListRef:
    """One list, whether or not it was ever written. `row` is None until then."""

    applies_to: ListScope
    kind: str
    label: str
    row: Allowlist | None

    @property
    def scope(self) -> str:
        """How a URL names its scope."""
        return scope_of(self.applies_to)

    @property
    def mode(self) -> str:
        """Its mode; off until it was written."""
        return self.row.mode if self.row else str(Allowlist.Mode.OFF)

    @property
    def version(self) -> int:
        """The version that a change is made to."""
        return self.row.version if self.row else 0

    @property
    def is_bypass(self) -> bool:
        """Whether it says whose mail need not wait, and not who may be written to."""
        return self.kind == Allowlist.Kind.BYPASS

    @property
    def url(self) -> str:
        """The address of its page."""
        return reverse("allowlist", args=[self.scope, self.kind])

    def may_change(self, actor: Actor) -> bool:
        """Whether the actor may change it."""
        return may_change(actor, self.applies_to)


def scope_of(scope: ListScope) -> str:
    """Return how a URL names a scope."""
    if scope.mailbox is not None:
        return f"mailbox-{scope.mailbox}"
    return ALL if scope.connection is None else f"connection-{scope.connection}"


def ref_of(row: Allowlist) -> ListRef:
    """Return a written list; its connection and mailbox are at hand."""
    return ListRef(
        ListScope(row.connection_id, row.mailbox_id), row.kind, str(row.mailbox or row.connection or "all mail"), row
    )


def find_list(scope: str, kind: str, actor: Actor) -> ListRef | None:
    """Return the list that an address names; None where there can be none, or the actor does not see it."""
    if kind not in Allowlist.Kind.values:
        return None
    found = _visible_scope(scope, actor)
    if found is None:
        return None
    applies_to, label = found
    row = Allowlist.objects.at(connection=applies_to.connection, mailbox=applies_to.mailbox, kind=kind).first()
    return ListRef(applies_to, kind, label, row)


def _visible_scope(scope: str, actor: Actor) -> tuple[ListScope, str] | None:
    if scope == ALL:
        # It holds for every mailbox, so whoever sees one may know it.
        return (ListScope(), "all mail") if actor.scopes else None
    named = _SCOPE.fullmatch(scope)
    if named is None:
        return None
    key = int(named[2])
    if named[1] == "connection":
        connection = Connection.objects.visible_to(actor).filter(pk=key).first()
        return (ListScope(connection=key), str(connection)) if connection else None
    mailbox = Mailbox.objects.visible_to(actor).filter(pk=key).first()
    return (ListScope(mailbox=key), str(mailbox)) if mailbox else None


@dataclass(frozen=True)
class ChangeInWords:
    """One change with its entry before and after in words; empty where there was none."""

    change: AllowChange
    before: str = ""
    after: str = ""
    mode_before: str = ""
    mode_after: str = ""


def changes_in_words(changes: Iterable[AllowChange]) -> list[ChangeInWords]:
    """Return changes in words, with one query for all owners."""
    listed = list(changes)
    owners = {state.get("owner") for one in listed for state in (one.before, one.after)} - {None}
    names = {pk: str(person) for pk, person in Person.objects.in_bulk(owners).items()}
    return [_in_words(one, names) for one in listed]


def _in_words(one: AllowChange, names: Mapping[int, str]) -> ChangeInWords:
    if one.what == AllowChange.What.MODE:
        modes = (mode_words(one.allowlist.kind, str(state.get("mode"))).name for state in (one.before, one.after))
        return ChangeInWords(one, "", "", *modes)
    return ChangeInWords(one, _words(one.before, names), _words(one.after, names))


def _words(state: Mapping[str, Any], names: Mapping[int, str]) -> str:
    if not state:
        return ""
    note = f"“{state['note']}”" if state.get("note") else "no note"
    owner = names.get(state.get("owner") or 0, "")
    ends = state.get("expires_at")
    until = f"ends {datetime.fromisoformat(ends).astimezone(UTC):%Y-%m-%d %H:%M} UTC" if ends else "never ends"
    return ", ".join(part for part in (note, f"owner {owner}" if owner else "no owner", until) if part)


@transaction.atomic
def note_export(*, at: ListRef, actor: Actor, number: int, text: str, show: str) -> None:
    """Record who exported how many entries of which list."""
    mailbox = at.row.mailbox if at.row else None
    record(
        "allowlist.exported",
        actor=actor,
        connection=mailbox.connection_id if mailbox else at.applies_to.connection,
        details={
            "scope": at.label,
            "list": at.kind,
            "entries": str(number),
            "search": text,
            "filter": show,
        },
    )
