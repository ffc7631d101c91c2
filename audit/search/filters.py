"""What the ledger shows: one value that is read from an address and written back into one.

Pure: no models and no database. `EntryQuerySet.matching` applies it; pages, exports and saved searches share it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, tzinfo
from typing import Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from audit.search.beginnings import in_one_spelling
from audit.search.dates import EXAMPLES, Span, read_span, spelled
from audit.search.kinds import GROUPS, read_kind
from common.search_field import MAX_TYPED, Grammar, as_asked, read_typed
from common.words import words_of

# The fields of an address that narrow, in the order in which they are written.
NARROWING = (
    *("q", "to", "by", "action", "actor", "surface", "connection", "message", "fingerprint", "trace"),
    *("since", "until"),
)
# Those that can be typed into the search field, as `to:dana`; `on:` stands for both ends of a time.
TOKENS = (*NARROWING[1:], "on")
_GRAMMAR = Grammar(
    tokens=TOKENS,
    gathered=("to", "by"),
    known=(
        "Filters are by:, to:, action:, surface:, on:, since:, until:, fingerprint:, message:, connection:, actor: "
        "and trace:."
    ),
)
_ACTOR = re.compile(r"[a-z_]{1,16}/[^\s/]{1,64}")
_SURFACE = re.compile("web|discord|webhook|worker|command")
_TRACE = re.compile(r"[0-9A-Za-z_.:-]{4,64}")
_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class Filters:
    """The state of the ledger as its address holds it; what is left out narrows nothing."""

    text: str = ""
    to: str = ""
    by: str = ""
    # A group, an area or an act: see `kinds`.
    action: str = ""
    # "person/5"
    actor: str = ""
    surface: str = ""
    connection: int | None = None
    message: UUID | None = None
    fingerprint: str = ""
    trace: str = ""
    # As they were asked for, and what that means where and when it is asked.
    since: str = ""
    until: str = ""
    begins: datetime | None = None
    ends: datetime | None = None
    # Keyset: entries older than this one, or the page of those just newer than it.
    before: int | None = None
    after: int | None = None
    # Sentences about what was asked and could not be meant.
    remarks: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def from_query(cls, query: Any, zone: tzinfo | str = UTC, *, now: datetime | None = None) -> "Filters":
        """Return what a query string, or a QueryDict, asks for by the clock of `zone`; it never refuses."""
        asked = dict(parse_qsl(query.lstrip("?"), keep_blank_values=True)) if isinstance(query, str) else query
        there = ZoneInfo(zone) if isinstance(zone, str) else zone
        return _Reading(asked, there, now or datetime.now(UTC)).filters()

    @property
    def narrows(self) -> bool:
        """Whether less is shown than there is."""
        return any(self._written(name) for name in NARROWING)

    @property
    def searches(self) -> bool:
        """Whether words are looked up."""
        return bool(self.text or self.to or self.by)

    def query(self, **changes: Any) -> str:
        """Return the address's query string in its one spelling; a change goes back to the first page."""
        if changes:
            return replace(self, **{"before": None, "after": None, **changes}).query()
        told = {name: self._written(name) for name in (*NARROWING, "before", "after")}
        return urlencode({name: str(value) for name, value in told.items() if value})

    def pairs(self) -> list[tuple[str, str]]:
        """Return what narrows, each named as the address names it."""
        return [(name, str(value)) for name in NARROWING if (value := self._written(name))]

    def without(self, *names: str) -> str:
        """Return the query string with some filters less, named as the address names them."""
        return self.query(**{_attribute(name): _DEFAULTS[_attribute(name)] for name in names})

    def pinned(self) -> "Filters":
        """Return the same with its times as moments, so that it means the same in another zone and tomorrow."""
        begins, ends = self.begins, self.ends
        return replace(self, since=spelled(begins) if begins else "", until=spelled(ends) if ends else "")

    def _written(self, name: str) -> Any:
        return getattr(self, _attribute(name))


_DEFAULTS = {one.name: one.default for one in fields(Filters)}


def _attribute(name: str) -> str:
    return "text" if name == "q" else name


class _Reading:
    """One address, read field by field; what is typed as a token counts before the field of that name."""

    def __init__(self, asked: Mapping[str, Any], zone: tzinfo, now: datetime) -> None:
        self.asked = {name: as_asked(asked.get(name)) for name in (*NARROWING, "on", "before", "after")}
        # One more than is searched, to see that there was more.
        self.typed = read_typed(as_asked(asked.get("q"), MAX_TYPED + 1), _GRAMMAR)
        self.zone, self.now = zone, now
        self.remarks = list(self.typed.remarks)

    def filters(self) -> Filters:
        since = self._span("since") or self._span("on")
        until = self._span("until") or self._span("on")
        found = Filters(
            text=self._words(" ".join(self.typed.words)),
            to=self._words(self._value("to")),
            by=self._words(self._value("by")),
            action=self._kind(),
            actor=self._formed("actor", _ACTOR, "An actor is written as person/5."),
            surface=self._formed("surface", _SURFACE, "Surfaces are web, discord, webhook, worker and command."),
            connection=self._connection(),
            message=self._message(),
            fingerprint=self._fingerprint(),
            trace=self._formed("trace", _TRACE, "A trace id has at least four letters or digits."),
            since=since.written if since else "",
            until=until.written if until else "",
            begins=since.begins if since else None,
            ends=until.ends if until else None,
            before=_number(self.asked["before"]),
            after=None if _number(self.asked["before"]) else _number(self.asked["after"]),
        )
        if found.begins and found.ends and found.begins >= found.ends:
            self.remarks.append("This time ends before it begins, so nothing can be in it.")
        return replace(found, remarks=tuple(dict.fromkeys(self.remarks)))

    def _value(self, name: str) -> str:
        return self.typed.values.get(name) or self.asked[name]

    def _words(self, asked: str) -> str:
        if asked and not words_of(asked):
            self.remarks.append(f"“{asked[:40]}” has no letter or number in it, so nothing was searched for it.")
            return ""
        return asked

    def _formed(self, name: str, form: re.Pattern[str], hint: str) -> str:
        value = self._value(name)
        if name in ("actor", "surface"):
            kind, slash, key = value.partition("/")
            value = kind.lower() + slash + key
        return value if not value or form.fullmatch(value) else self._left_out(name, hint)

    def _left_out(self, name: str, hint: str) -> str:
        self.remarks.append(f"There is no “{name}:{self._value(name)[:40]}”, so it was left out. {hint}")
        return ""

    def _kind(self) -> str:
        value = self._value("action")
        groups = ", ".join(GROUPS)
        return read_kind(value) or (
            self._left_out("action", f"Groups of acts are {groups}; acts are such as verdict.given.") if value else ""
        )

    def _connection(self) -> int | None:
        found = _number(self._value("connection"))
        if found is None and self._value("connection"):
            self._left_out("connection", "A connection is named by its number.")
        return found

    def _message(self) -> UUID | None:
        value = self._value("message")
        try:
            return UUID(value) if value else None
        except ValueError:
            self._left_out("message", "A message is named by its whole id, as its trace has it in the address.")
            return None

    def _fingerprint(self) -> str:
        value = self._value("fingerprint")
        try:
            return in_one_spelling(value) if value else ""
        except ValueError:
            return self._left_out("fingerprint", "A fingerprint is 7F3A-19C2-K0QD, hex, or at least 4 of its signs.")

    def _span(self, name: str) -> Span | None:
        value = self._value(name)
        try:
            return read_span(value, zone=self.zone, now=self.now) if value else None
        except ValueError:
            self._left_out(name, EXAMPLES)
            return None


def _number(text: str) -> int | None:
    return int(text) or None if _NUMBER.fullmatch(text) and text.isascii() else None
