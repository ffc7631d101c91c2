"""The queue's URL: reads its query string into a `Filters` object (tab, filters, order,
grouping, and where the page begins) and writes it back.

Nothing here queries messages: `QueueQuerySet.matching` applies the filters.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from django import forms
from django.utils import timezone

from audit.search.filters import EXAMPLES, Span, UnclearTimeError, read_span
from common.fingerprint import FINGERPRINT
from common.pages import LenientForm
from common.search_field import MAX_TYPED, Grammar, as_asked, read_typed
from common.tables import table_pairs
from common.time_zones import zone_name
from common.words import words_of
from mirror.models import Mailbox
from risk.rules import RULES

# One value of a written position; "x" stands for a missing value.
_NUMBER = re.compile(r"x|[0-9]{1,18}")
# The compared fields that are on the Review; the others are on the Message.
OF_REVIEW = ("late_since", "calm")
# The fields that each order compares, before the primary key.
COMPARED = {
    "oldest": ("late_since", "held_at"),
    "newest": ("changed_at",),
    "riskiest": ("calm", "held_at"),
    "soonest": ("expires_at", "held_at"),
    # Not offered on the page, but used to go through all held messages: newly held ones
    # come last, so that none is skipped.
    "held": ("held_at",),
}


@dataclass(frozen=True)
class Position:
    """The place of a message in an order; a page begins after it. `values` are the
    compared fields, with times as microseconds since 1970.
    """

    values: tuple[int | None, ...]
    key: int

    def __str__(self) -> str:
        numbers = (*self.values, self.key)
        return "-".join("x" if one is None else str(one) for one in numbers)


def read_position(written: str, *, order: str) -> Position | None:
    """Return the position that an address wrote for this order. None, which means the
    first page, if it is malformed.
    """
    names = (*COMPARED[order], "key")
    parts = written.split("-")
    if len(parts) != len(names) or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    numbers = []
    for name, part in zip(names, parts, strict=True):
        number = None if part == "x" else int(part)
        numbers.append(number)
        # Only these two fields may be missing. Numbers beyond what PostgreSQL can
        # compare are refused.
        is_valid = name in ("expires_at", "late_since")
        if number is not None:
            is_valid = number <= _LARGEST.get(name, _LATEST)
        if not is_valid:
            return None
    *values, key = numbers
    return Position(tuple(values), key or 0)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def at_time(microseconds: int) -> datetime:
    """Return the time of a number in an address. It is exact to the microsecond, so
    that no row is shown twice or left out.
    """
    return _EPOCH + microseconds * _MICROSECOND


def as_number(at: datetime) -> int:
    """Return a time as the address writes it: microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


_LARGEST = {"calm": 2, "key": 10**18}
_LATEST = as_number(datetime(9999, 12, 31, tzinfo=UTC))

TABS = table_pairs("""
waiting | Waiting
mine | Mine
leaving | Sending
unknown | Unconfirmed
failed | Failed
done | Done
""")
# Decided messages are shown newest first.
NEWEST_FIRST = ("failed", "done")
# "oldest" puts messages that are late for their review plan first.
ORDERS = {
    "oldest": "Overdue first",
    "riskiest": "Riskiest first",
    "soonest": "Soonest to expire",
}
GROUPS = table_pairs("""
| Floods only
alike | Alike
thread | Thread
run | Run
trigger | Source
none | Nothing
""")
RISKS = {"high": "High", "notice": "Notice", "none": "No findings"}

# The filters: parameter of the address to field of `Filters`.
NARROWING = table_pairs(
    """
q | text
to | to
from | from_
by | by
rule | rule
risk | risk
mailbox | mailbox
has | has
started | started
thread | thread
run | run
alike | alike
passed | passed
since | since
until | until
"""
)
# The filters that can be typed into the search field, such as `to:dana`.
TOKENS = "to from mailbox risk by has rule since until on".split()
# Those whose value is a text.
_TYPED = [name for name in TOKENS if name not in ("mailbox", "on")]
_GRAMMAR = Grammar(
    tokens=TOKENS,
    gathered=("to", "from", "by"),
    known="Filters are to:, from:, mailbox:, risk:, by:, has:attachment, rule:, on:, since: and until:.",
)


@dataclass(frozen=True)
class Filters:
    """What the queue's URL asks for: tab, filters, order, grouping and the page's
    position. An empty field does not filter.
    """

    tab: str = "waiting"
    text: str = ""
    to: str = ""
    from_: str = ""
    by: str = ""
    rule: str = ""
    risk: str = ""
    mailbox: int | None = None
    has: str = ""
    # The messages of exactly one group: with the same trigger, thread, run, or shape.
    started: str = ""
    thread: str = ""
    run: str = ""
    alike: str = ""
    # "yes": only messages that passes send.
    passed: str = ""
    # Times as they were typed, such as "yesterday".
    since: str = ""
    until: str = ""
    # What `since` and `until` mean now, in the reader's time zone.
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
        """Whether the tab is always shown newest first, whatever order was asked for."""
        return self.tab in NEWEST_FIRST

    @property
    def row_order(self) -> str:
        """The order of the rows: "newest" on a tab that fixes it, else `order`."""
        return "newest" if self.newest_first else self.order

    @property
    def shows_all_waiting(self) -> bool:
        """Whether this list, from its first page on, has every waiting message."""
        return (
            self.tab == "waiting"
            and self.group in ("", "none")
            and not self.narrows
            and self.after is None
        )

    @property
    def gathers_floods(self) -> bool:
        """Whether the list gathers a flood of similar messages in one row, although no
        grouping was asked for.
        """
        is_by_default = (
            self.tab == "waiting" and not self.group and self.order != "soonest"
        )
        return is_by_default and not (
            self.searches or self.alike or self.thread or self.run
        )

    def query(self, **changes: Any) -> str:
        """Return the query string, without defaults. With `changes`, return it with
        these fields changed and, unless `after` is one of them, for the first page.
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

    @cached_property
    def suffix(self) -> str:
        """The query string with its question mark, to append to a path; empty if
        everything has its default.
        """
        return f"?{query}" if (query := self.query()) else ""

    @property
    def typed(self) -> str:
        """The filters and words as one types them into the search field. What stands
        there is replaced by the next search.
        """
        values = ((name, getattr(self, NARROWING[name])) for name in _TYPED)
        tokens = [
            f'{name}:"{value}"' if " " in value else f"{name}:{value}"
            for name, value in values
            if value
        ]
        return " ".join([*tokens, self.text]).strip()

    def without(self, name: str) -> str:
        """Return the query string without one filter; `name` is its parameter."""
        return self.query(**{NARROWING[name]: None if name == "mailbox" else ""})


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
    """Return the filters of a query string. An invalid filter is left out with a
    remark; nothing is an error.

    A token in the search field, such as `to:dana`, wins over the parameter of the same
    name.
    """
    # `on` sets both `since` and `until`.
    names = ("tab", "order", "group", "after", "on", *NARROWING)
    parameters = {name: as_asked(data.get(name)) for name in names}
    # One character more than is searched, so that `read_typed` notices a longer text.
    typed = read_typed(as_asked(data.get("q"), MAX_TYPED + 1), _GRAMMAR)
    remarks = typed.remarks
    values = {name: typed.values.get(name) or parameters[name] for name in TOKENS}
    since, until = (
        _span(name, values[name], remarks) or _span("on", values["on"], remarks)
        for name in ("since", "until")
    )
    tab, order, group = (parameters[name] for name in ("tab", "order", "group"))
    tab = tab if tab in TABS else "waiting"
    order = order if order in ORDERS else "oldest"
    filters = Filters(
        tab=tab,
        text=" ".join(typed.words),
        to=values["to"],
        from_=values["from"],
        by=values["by"],
        rule=_one_of("rule", values["rule"], _RULES, remarks),
        risk=_one_of("risk", values["risk"], _RISK_WORDS, remarks),
        has=_one_of("has", values["has"], _HAS, remarks),
        mailbox=_mailbox(values["mailbox"], mailboxes, remarks),
        passed="yes" if parameters["passed"] else "",
        since=since.written if since else "",
        until=until.written if until else "",
        begins=since.begins if since else None,
        ends=until.ends if until else None,
        order=order,
        group=group if group in GROUPS else "",
        after=read_position(
            parameters["after"], order="newest" if tab in NEWEST_FIRST else order
        ),
        started=parameters["started"],
        thread=parameters["thread"],
        run=parameters["run"],
        alike=parameters["alike"],
    )
    if filters.text and not words_of(filters.text):
        remarks.append(
            f"“{filters.text[:40]}” has no letter or digit, so nothing was searched."
        )
    return replace(filters, remarks=tuple(dict.fromkeys(remarks)))


def _span(token: str, value: str, remarks: list[str]) -> Span | None:
    """Return the time span of a typed date in the reader's time zone; None for an empty
    or invalid one. An invalid one adds a remark.
    """
    if not value:
        return None
    try:
        return read_span(value, zone=ZoneInfo(zone_name()), now=timezone.now())
    except UnclearTimeError as error:
        remarks.append(f"“{token}:{value}” was ignored. {error}")
        return None
    except ValueError:
        remarks.append(
            f"“{token}:{value[:40]}” is not a date or time, so it was ignored. {EXAMPLES}"
        )
        return None


def _one_of(
    token: str, value: str, known: Mapping[str, str], remarks: list[str]
) -> str:
    # `known` has spellings of a value; an unknown one adds a remark.
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
    """Return the key of the mailbox with this key, address, or part before the @."""
    if not value:
        return None
    names = {one.short_name.lower(): one.pk for one in reversed(mailboxes)}
    names |= {one.address.lower(): one.pk for one in reversed(mailboxes)}
    names |= {str(one.pk): one.pk for one in mailboxes}
    key = names.get(value.lower())
    if key is None:
        remarks.append(
            f"None of your mailboxes is called “{value[:40]}”, so all of them are shown."
        )
    return key


def with_query(address: str, query: str) -> str:
    """Return an address with a query string added."""
    return f"{address}{'&' if '?' in address else '?'}{query}"


def as_id(value: str) -> UUID | None:
    """Return the id of a message; None if it is none."""
    try:
        return UUID(value)
    except ValueError:
        return None


class MessageForm(LenientForm):
    """The parameters of an address that name a message or a version of it."""

    # The fingerprint that the reader has seen: the page shows what changed after it.
    since = forms.RegexField(FINGERPRINT, required=False)
    # The message that the reader has just decided.
    decided = forms.UUIDField(required=False)
    # The message that is open on the page that polls for news.
    open = forms.UUIDField(required=False)
