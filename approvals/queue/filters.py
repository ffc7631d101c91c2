"""The address of the queue: its filters, its order and where a page begins; read from a
request and written back.

`QueueQuerySet.matching` applies the filters.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django import forms
from django.utils import timezone

from audit.search.filters import EXAMPLES, Span, read_span
from common.fingerprint import FINGERPRINT
from common.pages import LenientForm
from common.search_field import MAX_TYPED, Grammar, as_asked, read_typed
from common.time_zones import zone_name
from common.words import words_of
from mirror.models import Mailbox
from risk.rules import RULES

_NUMBER = re.compile(r"x|[0-9]{1,18}")
# Fields of a review; the others are of its message.
OF_REVIEW = ("late_since", "risk")
# What each order compares before the key.
COMPARED: Mapping[str, tuple[str, ...]] = {
    "oldest": ("late_since", "held_at"),
    "newest": ("changed_at",),
    "riskiest": ("risk", "held_at"),
    "soonest": ("expires_at", "held_at"),
    # For work through all that is held, which nothing may overtake.
    "held": ("held_at",),
}


@dataclass(frozen=True)
class Position:
    """`values` are what the order compares, times as numbers."""

    values: tuple[int | None, ...]
    key: int

    def __str__(self) -> str:
        numbers = (*self.values, self.key)
        return "-".join("x" if number is None else str(number) for number in numbers)


def read_position(written: str, *, order: str) -> Position | None:
    """Read a position in this order; None, which is the first page, for what is
    ill-formed.
    """
    names = (*COMPARED[order], "key")
    parts = written.split("-")
    if len(parts) != len(names) or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    numbers = [None if part == "x" else int(part) for part in parts]
    for name, number in zip(names, numbers, strict=True):
        # Only the expiry, and since when it is late, may be missing; PostgreSQL compares
        # no larger numbers.
        may_be = name in ("expires_at", "late_since")
        if number is not None:
            may_be = number <= _LARGEST.get(name, _LATEST)
        if not may_be:
            return None
    *values, key = numbers
    return Position(tuple(values), key or 0)


def at_time(microseconds: int) -> datetime:
    """Return the time that an address wrote as a number; exactly, so that no row is
    shown twice or left out.
    """
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(
        microsecond=microseconds % 1_000_000
    )


def as_number(at: datetime) -> int:
    """Return a time as the address writes it."""
    return int(at.timestamp()) * 1_000_000 + at.microsecond


_LARGEST = {"risk": 2**31 - 1, "key": 10**18}
_LATEST = as_number(datetime(9999, 12, 31, tzinfo=UTC))

TABS = {
    "waiting": "Waiting",
    "mine": "Mine",
    "leaving": "Sending",
    "unknown": "Unconfirmed",
    "failed": "Failed",
    "done": "Done",
}
# Decided messages are shown newest first.
NEWEST_FIRST = ("failed", "done")
# What is late comes before the oldest.
ORDERS = {
    "oldest": "Late, then oldest",
    "riskiest": "Riskiest first",
    "soonest": "Soonest to expire",
}
GROUPS = {
    "": "Floods only",
    "alike": "Alike",
    "thread": "Thread",
    "run": "Run",
    "trigger": "Started by",
    "none": "Nothing",
}
RISKS = {"high": "High", "notice": "Notice", "none": "No findings"}

# The fields of an address that narrow a tab, by what they are called there.
NARROWING = {
    "q": "text",
    "to": "to",
    "from": "from_",
    "by": "by",
    "rule": "rule",
    "risk": "risk",
    "mailbox": "mailbox",
    "has": "has",
    "started": "started",
    "thread": "thread",
    "run": "run",
    "alike": "alike",
    "standing": "standing",
    "since": "since",
    "until": "until",
}
# Those that can be typed into the search field, as `to:dana`.
TOKENS = ("to", "from", "mailbox", "risk", "by", "has", "rule", "since", "until", "on")
_KNOWN = "Filters are to:, from:, mailbox:, risk:, by:, has:attachment, rule:, on:, since: and until:."
_GRAMMAR = Grammar(tokens=TOKENS, gathered=("to", "from", "by"), known=_KNOWN)


@dataclass(frozen=True)
class Filters:
    """The state of the queue as its URL holds it; an empty field does not filter."""

    tab: str = "waiting"
    text: str = ""
    to: str = ""
    from_: str = ""
    by: str = ""
    rule: str = ""
    risk: str = ""
    mailbox: int | None = None
    has: str = ""
    # One group's own: exactly this one.
    started: str = ""
    thread: str = ""
    run: str = ""
    alike: str = ""
    # "yes": what leaves by standing approvals.
    standing: str = ""
    # Times as they were asked for, and what that means where and when it is asked.
    since: str = ""
    until: str = ""
    begins: datetime | None = None
    ends: datetime | None = None
    order: str = "oldest"
    group: str = ""
    after: Position | None = None
    # Sentences about typed filters that are invalid.
    remarks: tuple[str, ...] = field(default=(), compare=False)

    @property
    def narrows(self) -> bool:
        """Whether filters hide part of the tab."""
        return any(getattr(self, name) for name in NARROWING.values())

    @property
    def searches(self) -> bool:
        """Whether words are searched for."""
        return bool(self.text or self.to or self.from_ or self.by)

    @property
    def newest_first(self) -> bool:
        """Whether the tab has an order of its own."""
        return self.tab in NEWEST_FIRST

    @property
    def row_order(self) -> str:
        """The order of its rows: the tab's own, or the one that was asked for."""
        return "newest" if self.newest_first else self.order

    @property
    def shows_all_waiting(self) -> bool:
        """Whether its first pages have every message that waits, one a row."""
        return (
            self.tab == "waiting"
            and self.group in ("", "none")
            and not self.narrows
            and self.after is None
        )

    @property
    def gathers_floods(self) -> bool:
        """Whether many similar messages are gathered in one row without being asked to."""
        plain = self.tab == "waiting" and not self.group and self.order != "soonest"
        return plain and not (self.searches or self.alike or self.thread or self.run)

    def query(self, **changes: Any) -> str:
        """Return the canonical query string; a changed filter goes back to the first
        page.
        """
        if changes:
            return replace(self, **{"after": None, **changes}).query()
        values: dict[str, Any] = {"tab": "" if self.tab == "waiting" else self.tab}
        values |= {written: getattr(self, name) for written, name in NARROWING.items()}
        values |= {
            "order": "" if self.order == "oldest" else self.order,
            "group": self.group,
            "after": self.after,
        }
        return urlencode({name: str(value) for name, value in values.items() if value})

    @property
    def suffix(self) -> str:
        """The query string with its question mark, to stand behind a path; empty for
        the queue as it opens.
        """
        return f"?{query}" if (query := self.query()) else ""

    def without(self, name: str) -> str:
        """Return the query string with one filter less, named as the address names it."""
        return self.query(**{NARROWING[name]: None if name == "mailbox" else ""})

    def cleared(self) -> str:
        """Return the query string of the same tab and order without filters."""
        return Filters(tab=self.tab, order=self.order, group=self.group).query()


_RISK_WORDS = {**{name: name for name in RISKS}, "nothing": "none"}
_HAS = {
    "attachment": "attachment",
    "attachments": "attachment",
    "file": "attachment",
    "files": "attachment",
}
_RULES = {
    spelling: rule.name
    for rule in RULES.values()
    for spelling in (rule.name.replace("_", " "), rule.words)
}


def read_filters(
    data: Mapping[str, Any], *, mailboxes: Sequence[Mailbox] = ()
) -> Filters:
    """Return what an address asks the queue for. It is never refused: each invalid
    filter is left out, with a remark.

    What is typed as a token, such as `to:dana`, counts like the field of that name, and
    before it.
    """
    # `on` is both ends of a time.
    names = ("tab", "order", "group", "after", "on", *NARROWING)
    asked = {name: as_asked(data.get(name)) for name in names}
    # One more than is searched, to see that there was more.
    typed = read_typed(as_asked(data.get("q"), MAX_TYPED + 1), _GRAMMAR)
    remarks = typed.remarks
    values = {name: typed.values.get(name) or asked[name] for name in TOKENS}
    since, until = (
        _span(name, values[name], remarks) or _span("on", values["on"], remarks)
        for name in ("since", "until")
    )
    tab = _known_or(asked["tab"], TABS, "waiting")
    order = _known_or(asked["order"], ORDERS, "oldest")
    found = Filters(
        tab=tab,
        text=" ".join(typed.words),
        to=values["to"],
        from_=values["from"],
        by=values["by"],
        rule=_one_of("rule", values["rule"], _RULES, remarks),
        risk=_one_of("risk", values["risk"], _RISK_WORDS, remarks),
        has=_one_of("has", values["has"], _HAS, remarks),
        mailbox=_mailbox(values["mailbox"], mailboxes, remarks),
        standing="yes" if asked["standing"] else "",
        since=since.written if since else "",
        until=until.written if until else "",
        begins=since.begins if since else None,
        ends=until.ends if until else None,
        order=order,
        group=_known_or(asked["group"], GROUPS, ""),
        after=read_position(
            asked["after"], order="newest" if tab in NEWEST_FIRST else order
        ),
        started=asked["started"],
        thread=asked["thread"],
        run=asked["run"],
        alike=asked["alike"],
    )
    if found.text and not words_of(found.text):
        remarks.append(
            f"“{found.text[:40]}” has no letter or digit, so nothing was searched."
        )
    return replace(found, remarks=tuple(dict.fromkeys(remarks)))


def _known_or(value: str, known: Mapping[str, str], otherwise: str) -> str:
    return value if value in known else otherwise


def _span(token: str, value: str, remarks: list[str]) -> Span | None:
    """Read a time by the clock of whoever asks."""
    if not value:
        return None
    try:
        return read_span(value, zone=ZoneInfo(zone_name()), now=timezone.now())
    except ValueError:
        remarks.append(
            f"“{token}:{value[:40]}” is not a date or time, so it was ignored. {EXAMPLES}"
        )
        return None


def _one_of(
    token: str, value: str, known: Mapping[str, str], remarks: list[str]
) -> str:
    if not value:
        return ""
    if (meant := known.get(value.lower().replace("_", " "))) is None:
        can_be = ", ".join(dict.fromkeys(known.values()))
        remarks.append(
            f"There is no “{token}:{value[:40]}”, so it was ignored. It can be: {can_be}."
        )
    return meant or ""


def _mailbox(
    value: str, mailboxes: Sequence[Mailbox], remarks: list[str]
) -> int | None:
    """Find a mailbox by its key, its address, or what stands before the @."""
    if not value:
        return None
    names = {one.short_name.lower(): one.pk for one in reversed(mailboxes)}
    names |= {one.address.lower(): one.pk for one in reversed(mailboxes)}
    names |= {str(one.pk): one.pk for one in mailboxes}
    found = names.get(value.lower())
    if found is None:
        remarks.append(
            f"No mailbox of yours is called “{value[:40]}”, so all of them are shown."
        )
    return found


def with_query(address: str, query: str) -> str:
    """Return an address that asks for `query` too."""
    return f"{address}{'&' if '?' in address else '?'}{query}"


class MessageForm(LenientForm):
    """What an address says of messages: the version that the reader has read, to see
    what changed since, the message that they have just decided, and the one that is
    open on the page that asks for the pulse.
    """

    since = forms.RegexField(FINGERPRINT, required=False)
    decided = forms.UUIDField(required=False)
    open = forms.UUIDField(required=False)
