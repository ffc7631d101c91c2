"""Reads one page of the ledger for a filter, with its facets: how many entries match,
by kind.

PostgreSQL does not know how rare a word is by its beginning, nor that a time is a
stretch of entry numbers; guessing wrong, it would walk through the whole ledger for the
newest hundred. So `readable` looks up both first.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any

from django.db import OperationalError, transaction
from django.db.models import BooleanField, CharField, Func, Max, Min, Q, Value

from audit.models import Entry, EntryDetail, EntryQuerySet
from audit.search.filters import Filters, actions_of, fingerprint_prefixes, kind_label
from audit.trail import lines, with_subjects
from audit.visibility import visible_connections
from common.actors import Actor
from common.postgres import statements_within
from common.words import BY, TO, asked

PAGE = 100
# Counted up to here; beyond it the page says that there are more.
COUNTED = 2_000
# A search whose statements take more milliseconds than this asks for too much at once.
LONGEST = 4_000
# A word that is found this often is met soon enough by walking through the entries,
# newest first.
RARE = 20_000
MOST_STRAYS = 10_000

_CANCELLED = "57014"


class SearchTooLongError(Exception):
    """The ledger could not be searched for this within the time that a page has."""


@contextmanager
def _noticing_cancelled() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") != _CANCELLED:
            raise
        raise SearchTooLongError from error


@contextmanager
def within_time() -> Iterator[None]:
    """Run the block in a transaction. Raises SearchTooLongError where a statement of it
    took too long.
    """
    with _noticing_cancelled(), statements_within(LONGEST):
        yield


# --- Which entries match --------------------------------------------------------------


def _has_words(column: str, words: str) -> Func:
    """Whether a column of words has these, written as PostgreSQL reads a tsquery."""
    return Func(
        column,
        Value(words, output_field=CharField()),
        template="%(expressions)s::tsquery",
        arg_joiner=" @@ ",
        output_field=BooleanField(),
    )


def _is_among(keys: list[int]) -> Func:
    """Whether a key is in a list, sent as one array: Django takes 30 milliseconds to
    write a thousand into IN.
    """
    array = Value("{" + ",".join(map(str, keys)) + "}", output_field=CharField())
    return Func(
        "pk",
        array,
        template="(%(expressions)s::bigint[]))",
        arg_joiner=" = ANY (",
        output_field=BooleanField(),
    )


def matching(entries: EntryQuerySet, filters: Filters) -> EntryQuerySet:
    """Return those of the entries that match (relies on the indexes of each field; of
    times, on their BRIN).
    """
    kind, _, key = filters.actor.partition("/")
    equal = {
        "actor_kind": kind,
        "actor_id": key,
        "surface": filters.surface,
        "connection": filters.connection,
        "message": filters.message,
        "at__gte": filters.begins,
        "at__lt": filters.ends,
    }
    found = entries.filter(**{name: value for name, value in equal.items() if value})
    if filters.action:
        actions = actions_of(filters.action)
        is_one = len(actions) == 1
        wanted = Q(action=actions[0]) if is_one else Q(action__in=actions)
        found = found.filter(wanted)
    if filters.fingerprint:
        forms = [
            Q(fingerprint__startswith=one)
            for one in fingerprint_prefixes(filters.fingerprint)
        ]
        # The condition of the index, repeated.
        found = found.filter(reduce(or_, forms), ~Q(fingerprint=""))
    if filters.trace:
        found = found.filter(~Q(trace=""), trace__startswith=filters.trace)
    words = _tsquery(filters)
    return found.filter(_has_words("detail__words", words)) if words else found


def _tsquery(filters: Filters) -> str:
    words = (asked(filters.text, ""), asked(filters.to, TO), asked(filters.by, BY))
    return " & ".join(filter(None, words))


def readable(actor: Actor, filters: Filters) -> EntryQuerySet:
    """Return every entry that the actor may read and that matches, found by the rarest
    of what is asked for.
    """
    entries = Entry.objects.readable_by(actor)
    if words := _tsquery(filters):
        keys = _all_keys(EntryDetail.objects.filter(_has_words("words", words)))
        # If these are all matches, a second look-up would take as long again.
        if keys is not None:
            entries = entries.filter(_is_among(keys))
            filters = replace(filters, text="", to="", by="")
    if filters.fingerprint:
        keys = _all_keys(
            matching(EntryQuerySet(Entry), Filters(fingerprint=filters.fingerprint))
        )
        if keys is not None:
            entries = entries.filter(_is_among(keys))
            filters = replace(filters, fingerprint="")
    found = matching(entries, filters)
    if filters.begins or filters.ends:
        found = found.filter(_numbers_of(filters))
    return found


def _all_keys(rows: Any) -> list[int] | None:
    """Return the keys of these rows, None where they are too many."""
    keys = list(rows.values_list("pk", flat=True)[: RARE + 1])
    return keys if len(keys) <= RARE else None


def _numbers_of(filters: Filters) -> Q:
    """Return the condition on the numbers that entries of this time have.

    Strays are entries of the time whose number says otherwise: written by a clock that
    was set, or by somebody's hand. Finding them relies on entry_at_brin, which knows
    the least and the largest of both columns in each stretch.
    """
    within = Q()
    outside = Q()
    if filters.begins:
        first = _first_since(filters.begins)
        within &= Q(pk__gte=first)
        outside |= Q(pk__lt=first)
    if filters.ends:
        last = _first_since(filters.ends)
        within &= Q(pk__lt=last)
        outside |= Q(pk__gte=last)
    at_the_time = matching(
        EntryQuerySet(Entry), Filters(begins=filters.begins, ends=filters.ends)
    )
    outsiders = at_the_time.filter(outside).values_list("pk", flat=True)
    strays = list(outsiders[:MOST_STRAYS])
    if len(strays) == MOST_STRAYS:
        # The entries' numbers do not follow their times here.
        return Q()
    return within | Q(_is_among(strays)) if strays else within


def _first_since(moment: datetime) -> int:
    """Return the number of the first entry that is no older, by halving the ledger:
    some twenty looks at its key.
    """
    ends = Entry.objects.aggregate(low=Min("pk"), high=Max("pk"))
    if ends["low"] is None:
        return 0
    low: int = ends["low"]
    high = ends["high"] + 1
    times = Entry.objects.order_by("pk").values_list("pk", "at")
    while low < high:
        middle = (low + high) // 2
        number, at = times.filter(pk__gte=middle)[0]
        if at < moment:
            low = number + 1
        else:
            high = middle
    return low


def shown_of(entries: EntryQuerySet, filters: Filters) -> EntryQuerySet:
    """Return those of the matches that the page shows: without technical ones where
    these are folded.
    """
    return entries.without_technical() if filters.folds else entries


# --- A page of them -------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    """A page of the ledger, newest first, with the keys of the previous and the next
    page.
    """

    lines: list[Entry]
    older: int | None = None
    newer: int | None = None


def page_of(entries: EntryQuerySet, filters: Filters) -> Page:
    """Return the page that the filters name; whatever is appended meanwhile moves
    nothing on it.
    """
    if filters.after:
        found = lines(entries.after(filters.after).oldest_first()[: PAGE + 1])
        if len(found) > PAGE:
            shown = found[PAGE - 1 :: -1]
            return Page(with_subjects(shown), older=shown[-1].pk, newer=shown[0].pk)
    # Less than a page before the newest entries: show the newest page.
    if filters.before:
        entries = entries.before(filters.before)
    found = lines(entries.newest_first()[: PAGE + 1])
    shown = found[:PAGE]
    older = shown[-1].pk if len(found) > PAGE else None
    newer = None
    if filters.before:
        newer = shown[0].pk if shown else filters.before - 1
    return Page(with_subjects(shown), older=older, newer=newer)


def decision_of(page: Page, *, actor: Actor) -> Entry | None:
    """Return a person's newest decision, where every entry of the page is about one and
    the same message.

    None where it stands first anyway.
    """
    about = {line.message for line in page.lines}
    if len(about) != 1 or None in about:
        return None
    found = lines(
        Entry.objects.readable_by(actor)
        .of_message(about.pop())
        .of_action("verdict.given")
        .filter(actor_kind="person")
        .newest_first()[:1]
    )
    if not found or found[0].pk == page.lines[0].pk:
        return None
    return with_subjects(found)[0]


def hidden_by_filters(actor: Actor, filters: Filters) -> int:
    """Count the entries that only the other filters keep from a search for words, up to
    one more than COUNTED.
    """
    words = Filters(text=filters.text, to=filters.to, by=filters.by)
    if not words.narrows or words.pairs() == filters.pairs():
        return 0
    return readable(actor, words)[: COUNTED + 1].count()


# --- Counts beside it -----------------------------------------------------------------


# A value, how many of the newest matches have it, and its label.
Count = tuple[str, int, str]


@dataclass(frozen=True)
class Facets:
    """The values of the newest matches with their counts, the most frequent first."""

    total: int = 0
    is_cut: bool = False
    # How many entries that match are folded.
    folded: int = 0
    # By the field of `Filters` that narrows by them.
    counts: dict[str, list[Count]] = field(default_factory=dict)

    @property
    def is_one(self) -> bool:
        """Whether there is exactly one entry."""
        return self.total == 1 and not self.is_cut

    @property
    def shown(self) -> str:
        """The number as people read it."""
        return f"more than {COUNTED:,}" if self.is_cut else f"{self.total:,}"

    @property
    def folded_shown(self) -> str:
        """The number of folded entries as people read it."""
        return f"{COUNTED:,}+" if self.folded > COUNTED else f"{self.folded:,}"


# The most values of a facet that are named.
_MOST_VALUES = 30


def facets_of(
    entries: EntryQuerySet, filters: Filters, *, actor: Actor
) -> Facets | None:
    """Count the values of the newest matches that are shown, and those that are folded;
    None if that takes too long.
    """
    with suppress(SearchTooLongError), _noticing_cancelled(), transaction.atomic():
        return _count(entries, filters, actor)
    return None


def _count(entries: EntryQuerySet, filters: Filters, actor: Actor) -> Facets:
    shown = shown_of(entries, filters).newest_first()[: COUNTED + 1]
    newest = list(
        shown.values_list(
            "pk", "action", "actor_kind", "actor_id", "surface", "connection"
        )
    )
    actions: Counter[str] = Counter()
    actors: Counter[str] = Counter()
    surfaces: Counter[str] = Counter()
    connections: Counter[str] = Counter()
    # The newest entry of each actor, which has the name, unless its details were
    # removed.
    last: dict[str, int] = {}
    for pk, action, kind, key, surface, connection in newest[:COUNTED]:
        who = f"{kind}/{key}"
        last.setdefault(who, pk)
        actions[action] += 1
        actors[who] += 1
        surfaces[surface] += 1
        if connection:
            connections[str(connection)] += 1
    # Of those that are as frequent, the newest come first, as they were counted.
    frequent = actors.most_common(_MOST_VALUES)
    names = dict(
        EntryDetail.objects.filter(
            pk__in=[last[who] for who, _ in frequent]
        ).values_list("pk", "fields__actor")
    )
    counts: dict[str, list[Count]] = {
        "action": [
            (action, number, kind_label(action))
            for action, number in actions.most_common(_MOST_VALUES)
        ],
        "actor": [
            (who, number, names.get(last[who]) or who.replace("/", " "))
            for who, number in frequent
        ],
        "surface": [
            (surface, number, surface)
            for surface, number in surfaces.most_common(_MOST_VALUES)
        ],
        "connection": [],
    }
    # A single connection needs no name.
    if len(connections) > 1 or filters.connection:
        frequent = connections.most_common(_MOST_VALUES)
        visible = visible_connections(actor).filter(pk__in=[key for key, _ in frequent])
        known = {str(key): name for key, name in visible.values_list("pk", "name")}
        # Those that the actor may not see are not named at all.
        counts["connection"] = [
            (key, number, known[key]) for key, number in frequent if key in known
        ]
    folded = 0
    if filters.folds:
        folded = entries.technical().order_by()[: COUNTED + 1].count()
    return Facets(min(len(newest), COUNTED), len(newest) > COUNTED, folded, counts)
