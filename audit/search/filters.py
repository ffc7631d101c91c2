"""The filters of the ledger's search as one value (`Filters`), which is read from a
query string and written back into one. Also reads what people type: dates such as "last
7 days", actions, fingerprints.

Pure: no models and no database. `results.matching` applies the filters; pages, exports
and saved searches use them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from audit.actions import ACTIONS, SETTINGS
from common.fingerprint import FINGERPRINT
from common.search_field import MAX_TYPED, Grammar, as_asked, read_typed
from common.tables import table_pairs, table_rows
from common.time_zones import clock_error
from common.words import words_of

EXAMPLES = "Dates are 2026-11-21, 2026-11, 2026, today, yesterday, 7d or “last 7 days”, and 2026-11-21T10:42."

# "7d", "last 7 days"; a year, month or day; a time with an optional "z" for UTC.
_LAST = re.compile(r"(?:last[\s+_-]*)?(\d{1,4})[\s+_-]*d(?:ays?)?")
_DAY = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[t ](\d\d:\d\d)(:\d\d)?(\.\d{1,6})?(z?)")
# The first and the last day that these words mean.
_WORDS: dict[str, Callable[[date], tuple[date, date]]] = {
    "today": lambda today: (today, today),
    "yesterday": lambda today: (today - timedelta(days=1), today - timedelta(days=1)),
    "this week": lambda today: (today - timedelta(days=today.weekday()), today),
    "this month": lambda today: (today.replace(day=1), today),
    "this year": lambda today: (today.replace(month=1, day=1), today),
}


@dataclass(frozen=True)
class Span:
    """A time from `begins` up to `ends`, without `ends` itself. `written` is what was
    typed, in its normal spelling.
    """

    begins: datetime
    ends: datetime
    written: str


class UnclearTimeError(ValueError):
    """A time that clocks skip or show twice; the text says so."""


def read_span(asked: str, *, zone: tzinfo, now: datetime) -> Span:
    """Return the time that typed words mean in this zone. Raises ValueError if none."""
    words = " ".join(asked.strip().lower().replace("+", " ").replace("_", " ").split())
    if match := _MOMENT.fullmatch(words):
        # An exact time is an empty span: `since:` begins and `until:` ends there.
        text = f"{match[1]}T{match[2]}{match[3] or ':00'}"
        fraction = match[4] or ""
        at = datetime.fromisoformat(text + (fraction.ljust(7, "0") if fraction else ""))
        _check_year(at.year)
        at = at.replace(tzinfo=UTC if match[5] else zone)
        if error := clock_error(at):
            raise UnclearTimeError(error)
        at = at.astimezone(UTC)
        return Span(at, at, spelled(at) if match[5] else text + fraction)
    today = now.astimezone(zone).date()
    if (spaced := words.replace("-", " ")) in _WORDS:
        words = spaced
        first, last = _WORDS[words](today)
    elif number_of_days := _LAST.fullmatch(words):
        number = int(number_of_days[1])
        if not number:
            raise ValueError(asked)
        first = today - timedelta(days=number - 1)
        last = today
        words = f"last {number} days"
    elif match := _DAY.fullmatch(words):
        year = int(match[1])
        day = int(match[3] or 0)
        _check_year(year)
        first = date(year, int(match[2] or 1), day or 1)
        last = date(year, int(match[2] or 12), day or 1)
        words = f"{year:04d}"
        if match[2]:
            words += f"-{first.month:02d}"
        if day:
            words += f"-{day:02d}"
        else:
            last = date(last.year + last.month // 12, last.month % 12 + 1, 1)
            last -= timedelta(days=1)
    else:
        raise ValueError(asked)
    try:
        return Span(
            _midnight(first, zone), _midnight(last + timedelta(days=1), zone), words
        )
    except OverflowError:
        raise ValueError(asked) from None


def spelled(at: datetime) -> str:
    """Return an exact time as text that `read_span` reads the same in any zone."""
    utc = at.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}{f'.{utc.microsecond:06d}' if utc.microsecond else ''}Z"


def _midnight(day: date, zone: tzinfo) -> datetime:
    """Return when the day begins in this zone. That is not always 24 hours after the
    day before began, because clocks are changed.
    """
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _check_year(year: int) -> None:
    if not 1970 <= year <= 9000:
        raise ValueError(year)


# The fields of the query string that narrow the search, in the order in which they are
# written; and what the page calls them.
NARROWING = table_pairs(
    """
q | Words
to | To
by | By
action | Action
actor | Who
surface | Source
connection | Connection
message | Message
fingerprint | Fingerprint
trace | Trace id
since | Since
until | Until
"""
)
# The filters that can be typed into the search field, such as `to:dana`; `on:` means
# both `since:` and `until:`.
TOKENS = (*list(NARROWING)[1:], "on")
SURFACES = {
    one: one.capitalize()
    for one in "web discord slack mail webhook worker command".split()
}
_GRAMMAR = Grammar(
    tokens=TOKENS,
    gathered=("to", "by"),
    known=(
        "Filters are by:, to:, action:, surface:, on:, since:, until:, fingerprint:, message:, connection:, actor: "
        "and trace:."
    ),
)


# --- Actions --------------------------------------------------------------------------

# Groups of actions: label, and areas or single actions. The group of settings has those
# in SETTINGS.
_GROUPS = {
    name: (label, members.split() or SETTINGS)
    for name, label, members in table_rows(
        """
decisions | Decisions | verdict decision bulk
mail | Delivery of mail | message attachment thread
reading | Reading | message.opened message.served attachment.served thread.opened ledger.seen_again
people | People and sign-ins | person role access
settings | Settings |
webhooks | Webhooks | webhook hook
alerts | Alerts | alert destination
ledger | The ledger itself | ledger
"""
    )
}
GROUPS = {name: label for name, (label, _) in _GROUPS.items()}
# An area is the part of an action before the dot.
AREAS = frozenset(action.partition(".")[0] for action in ACTIONS)


def read_kind(text: str) -> str:
    """Return a typed group, area or action in its normal spelling. Raises ValueError if
    it is none of these.
    """
    kind = "_".join(text.strip().lower().replace("_", " ").split())
    if kind in _GROUPS or kind in AREAS or kind in ACTIONS:
        return kind
    for action in ACTIONS:
        if action.replace(".", "_") == kind:
            return action
    raise ValueError(text)


def actions_of(kind: str) -> list[str]:
    """Return the actions that a group, an area or an action stands for."""
    members = _GROUPS[kind][1] if kind in _GROUPS and kind not in ACTIONS else (kind,)
    return [
        action
        for action in ACTIONS
        if action in members or action.partition(".")[0] in members
    ]


def kind_label(kind: str) -> str:
    """Return the label of a group, an area or an action."""
    return GROUPS.get(kind) or kind.replace(".", " ").replace("_", " ").capitalize()


# Letters that people type in place of the digits of a fingerprint.
_LOOKALIKES = str.maketrans("ILO", "110")


# --- Filters --------------------------------------------------------------------------


@dataclass(frozen=True)
class Filters:
    """The filters of the ledger's page, as its query string has them. An empty field
    does not narrow the search.
    """

    text: str = ""
    to: str = ""
    by: str = ""
    # A group, an area or an action.
    action: str = ""
    # Kind and id, such as "person/5".
    actor: str = ""
    surface: str = ""
    connection: int | None = None
    message: UUID | None = None
    fingerprint: str = ""
    trace: str = ""
    # The words of a time as they were typed, such as "today"; and the times that they
    # mean.
    since: str = ""
    until: str = ""
    begins: datetime | None = None
    ends: datetime | None = None
    # Whether the page shows technical entries too. Exports always have them.
    technical: bool = False
    # For the pages: show entries older than the entry with this number, or newer ones.
    before: int | None = None
    after: int | None = None
    # Sentences about typed filters that could not be understood.
    remarks: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def from_query(
        cls, query: Any, zone: tzinfo | str = UTC, *, now: datetime | None = None
    ) -> "Filters":
        """Return the filters of a query string or QueryDict; dates are in the time zone
        `zone`.

        A filter that is typed into the search field, such as `to:dana`, replaces the
        field of that name. What cannot be read is left out, and a remark says so.
        """
        if isinstance(query, str):
            query = dict(parse_qsl(query.lstrip("?"), keep_blank_values=True))
        if isinstance(zone, str):
            zone = ZoneInfo(zone)
        # One character more than is searched, so that a longer text is noticed.
        typed = read_typed(as_asked(query.get("q"), MAX_TYPED + 1), _GRAMMAR)
        remarks = typed.remarks
        given = {
            name: typed.values.get(name) or as_asked(query.get(name)) for name in TOKENS
        }

        if not FINGERPRINT.fullmatch(given["fingerprint"]):
            # In its short form, or its beginning: then it is a word like other ids.
            typed.words.append(given["fingerprint"].upper().translate(_LOOKALIKES))
            given["fingerprint"] = ""

        def read(name: str, how: Callable[[str], Any], hint: str) -> Any:
            value = given[name]
            try:
                return how(value) if value else None
            except UnclearTimeError as error:
                remarks.append(f"“{name}:{value}” was left out. {error}")
                return None
            except ValueError:
                remarks.append(
                    f"There is no “{name}:{value[:40]}”, so it was left out. {hint}"
                )
                return None

        def words(text: str) -> str:
            if not text or words_of(text):
                return text
            remarks.append(
                f"“{text[:40]}” has no letter or number in it, so nothing was searched for it."
            )
            return ""

        times = partial(read_span, zone=zone, now=now or datetime.now(UTC))
        since: Span | None
        until: Span | None
        since, until = (
            read(name, times, EXAMPLES) or read("on", times, EXAMPLES)
            for name in ("since", "until")
        )
        before = _page_key(as_asked(query.get("before")))
        filters = cls(
            text=words(" ".join(filter(None, typed.words))),
            to=words(given["to"]),
            by=words(given["by"]),
            **{
                name: read(name, *how) or _DEFAULTS[name]
                for name, how in _FIELDS.items()
            },
            since=since.written if since else "",
            until=until.written if until else "",
            begins=since.begins if since else None,
            ends=until.ends if until else None,
            technical=as_asked(query.get("technical")) == "1",
            before=before,
            after=None if before else _page_key(as_asked(query.get("after"))),
        )
        if filters.begins and filters.ends and filters.begins >= filters.ends:
            remarks.append(
                "The end of this time is before its start, so nothing can match."
            )
        return replace(filters, remarks=tuple(dict.fromkeys(remarks)))

    @property
    def narrows(self) -> bool:
        """Whether any filter is on."""
        return bool(self.pairs())

    @property
    def searches(self) -> bool:
        """Whether it searches for words."""
        return bool(self.text or self.to or self.by)

    @property
    def folds(self) -> bool:
        """Whether the page folds technical entries. It does not if they should be
        shown, or if the filters may be meant to find them.
        """
        is_asked = self.technical or self.action or self.trace or self.actor
        return not is_asked and self.surface not in ("webhook", "worker")

    def query(self, **changes: Any) -> str:
        """Return the filters as a query string. With changed fields, it leads to the
        first page.
        """
        changed = self
        if changes:
            changed = replace(self, **{"before": None, "after": None, **changes})
        pairs = changed.pairs()
        if changed.technical:
            pairs.append(("technical", "1"))
        for name in ("before", "after"):
            if key := getattr(changed, name):
                pairs.append((name, str(key)))
        return urlencode(pairs)

    def pairs(self) -> list[tuple[str, str]]:
        """Return (name in the query string, value) of each filter that is on."""
        return [
            (name, str(value))
            for name in NARROWING
            if (value := getattr(self, _attribute(name)))
        ]

    def without(self, *names: str) -> str:
        """Return the query string without these filters, given by their names in it."""
        return self.query(
            **{_attribute(name): _DEFAULTS[_attribute(name)] for name in names}
        )

    def pinned(self) -> "Filters":
        """Return the same filters with exact times in place of words such as "today",
        so that they mean the same later and in another time zone.
        """
        return replace(
            self,
            since=spelled(self.begins) if self.begins else "",
            until=spelled(self.ends) if self.ends else "",
        )


_DEFAULTS: dict[str, Any] = {one.name: one.default for one in fields(Filters)}


def _attribute(name: str) -> str:
    return "text" if name == "q" else name


def _read_actor(text: str) -> str:
    kind, slash, key = text.partition("/")
    return _read_form(r"[a-z_]{1,16}/[^\s/]{1,64}", kind.lower() + slash + key)


def _read_number(text: str) -> int:
    number = int(_read_form("[0-9]{1,18}", text))
    if not number:
        raise ValueError(text)
    return number


def _read_form(form: str, text: str) -> str:
    if not re.fullmatch(form, text):
        raise ValueError(text)
    return text


def _page_key(text: str) -> int | None:
    try:
        return _read_number(text)
    except ValueError:
        return None


# For each field, the function that parses it, and the hint if that fails.
_FIELDS: dict[str, tuple[Callable[[str], Any], str]] = {
    "action": (
        read_kind,
        f"Groups of actions are {', '.join(GROUPS)}; an action is such as verdict.given.",
    ),
    "actor": (_read_actor, "An actor is written as person/5."),
    "surface": (
        lambda text: _read_form("|".join(SURFACES), text.lower()),
        "Sources are web, discord, slack, mail, webhook, worker and command.",
    ),
    "connection": (_read_number, "A connection is given by its number."),
    "message": (
        UUID,
        "A message is given by its full id, as in the address of its audit trail.",
    ),
    "fingerprint": (str, ""),
    "trace": (
        partial(_read_form, r"[0-9A-Za-z_.:-]{4,64}"),
        "A trace id has at least four letters or digits.",
    ),
}
