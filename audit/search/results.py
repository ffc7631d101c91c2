"""Runs the search of the ledger: one page of the entries that match the filters, and
the facets, which count the matches by action, actor, surface and connection.

PostgreSQL cannot estimate how rare a word is by its first letters, nor does it know
that a range of time is a range of entry numbers. If it guesses wrong, it reads the
whole ledger to find the newest hundred matches. So `readable` looks up both first.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime

from django.db import OperationalError, transaction
from django.db.models import BooleanField, CharField, Func, Max, Min, Q, Value

from audit.models import IS_TECHNICAL, Entry, EntryDetail, EntryQuerySet
from audit.search.filters import SURFACES, Filters, actions_of, kind_label
from audit.trail import lines, with_subjects
from audit.visibility import visible
from common.actors import Actor
from common.postgres import statements_within
from common.words import BY, TO, asked

# Entries of a page.
PAGE = 100
# How many matches are counted; if there are more, the page says so.
COUNTED = 2_000
# How many milliseconds each statement of a search may take.
LONGEST = 4_000
# If more entries than this match a word, PostgreSQL finds enough of them quickly by
# reading the entries from the newest one.
RARE = 20_000
# The decisions of so many messages lead the page of a search.
LED = 5
# How many strays (see `_numbers_of`) are looked up.
MOST_STRAYS = 10_000

# PostgreSQL's error code for a statement that took too long.
_CANCELLED = "57014"


class SearchTooLongError(Exception):
    """The search took longer than a page may take."""


# Turns the database's error for a statement that took too long into SearchTooLongError.
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
    """Run the block in a transaction. Raises SearchTooLongError if one of its
    statements takes longer than LONGEST.
    """
    with _noticing_cancelled(), statements_within(LONGEST):
        yield


# --- Which entries match --------------------------------------------------------------


def _has_words(column: str, words: str) -> Func:
    """Return the condition that a tsvector column matches these words, a tsquery."""
    return Func(
        column,
        Value(words, output_field=CharField()),
        template="%(expressions)s::tsquery",
        arg_joiner=" @@ ",
        output_field=BooleanField(),
    )


def _is_among(keys: list[int]) -> Func:
    """Return the condition that the primary key is in this list. The list is sent as
    one array, because Django takes 30 milliseconds to write a thousand keys into IN
    (...).
    """
    return Func(
        "pk",
        Value("{" + ",".join(map(str, keys)) + "}", output_field=CharField()),
        template="(%(expressions)s::bigint[]))",
        arg_joiner=" = ANY (",
        output_field=BooleanField(),
    )


def matching(entries: EntryQuerySet, filters: Filters) -> EntryQuerySet:
    """Return those of the entries that match the filters. Each field has an index;
    times have entry_at_brin.
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
    matches = entries.filter(**{name: value for name, value in equal.items() if value})
    if filters.action:
        matches = matches.filter(action__in=actions_of(filters.action))
    if filters.fingerprint:
        # PostgreSQL uses the index only if the query repeats the index's condition.
        matches = matches.filter(~Q(fingerprint=""), fingerprint=filters.fingerprint)
    if filters.trace:
        matches = matches.filter(~Q(trace=""), trace__startswith=filters.trace)
    words = _tsquery(filters)
    return matches.filter(_has_words("detail__words", words)) if words else matches


def _tsquery(filters: Filters) -> str:
    words = (asked(filters.text, ""), asked(filters.to, TO), asked(filters.by, BY))
    return " & ".join(filter(None, words))


def readable(actor: Actor, filters: Filters) -> EntryQuerySet:
    """Return all entries that match the filters and that the actor may read. Rare words
    are looked up at once, and replaced by the entries' keys.
    """
    entries = Entry.objects.readable_by(actor)
    if words := _tsquery(filters):
        rows = EntryDetail.objects.filter(_has_words("words", words))
        keys = list(rows.values_list("pk", flat=True)[: RARE + 1])
        # The keys are all matches, so the words need not be searched again.
        if len(keys) <= RARE:
            entries = entries.filter(_is_among(keys))
            filters = replace(filters, text="", to="", by="")
    matches = matching(entries, filters)
    if filters.begins or filters.ends:
        matches = matches.filter(_numbers_of(filters))
    return matches


def _numbers_of(filters: Filters) -> Q:
    """Return a condition on entry numbers that all entries of the filters' time meet.

    Normally the numbers follow the times. Strays are entries of this time whose numbers
    are outside the range, because the clock was set or somebody altered them. The index
    entry_at_brin finds them: it has the minimum and maximum of both columns per block.
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
        # Numbers do not follow times here, so they cannot be used.
        return Q()
    return within | Q(_is_among(strays)) if strays else within


def _first_since(moment: datetime) -> int:
    """Return the number of the first entry from this moment on, by binary search; some
    twenty queries by primary key.
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
    """Return the matches that the page shows: without technical entries if the filters
    fold them.
    """
    return entries.exclude(IS_TECHNICAL) if filters.folds else entries


# --- A page of them -------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    """A page of the ledger, newest first. `older` and `newer` are the keys with which
    the next and the previous page begin; None if there is none.
    """

    lines: list[Entry]
    older: int | None = None
    newer: int | None = None


def page_of(entries: EntryQuerySet, filters: Filters) -> Page:
    """Return the page of these entries that the filters name by `before` or `after`.
    New entries do not shift the pages.
    """
    if filters.after:
        found_entries = lines(
            entries.filter(pk__gt=filters.after).oldest_first()[: PAGE + 1]
        )
        if len(found_entries) > PAGE:
            shown = found_entries[PAGE - 1 :: -1]
            return Page(with_subjects(shown), older=shown[-1].pk, newer=shown[0].pk)
    # If fewer entries than a page are newer, the newest page is shown.
    if filters.before:
        entries = entries.filter(pk__lt=filters.before)
    found_entries = lines(entries.newest_first()[: PAGE + 1])
    shown = found_entries[:PAGE]
    older = shown[-1].pk if len(found_entries) > PAGE else None
    newer = None
    if filters.before:
        newer = shown[0].pk if shown else filters.before - 1
    return Page(with_subjects(shown), older=older, newer=newer)


def decisions_of(page: Page, entries: EntryQuerySet, *, actor: Actor) -> list[Entry]:
    """Return who decided the messages that a search found, to be shown first: the newest
    decision of each, by a person, by a rule or outside this desk. Empty if the search
    found more than LED messages, or if it begins with the only decision anyway.
    """
    found = page.lines or lines(entries.newest_first()[:PAGE])
    messages = {entry.message for entry in found} - {None}
    if len(messages) > LED:
        return []
    # The decision of a person repeats their verdict.
    decided = (
        Entry.objects.readable_by(actor)
        .of_messages(messages)
        .filter(action__in=("verdict.given", "decision.elsewhere", "decision.recorded"))
        .exclude(action="decision.recorded", actor_kind="person")
    )
    newest = {entry.message: entry for entry in lines(decided.oldest_first())}
    decisions = sorted(newest.values(), key=lambda one: -one.pk)
    return [] if decisions == page.lines[:1] else with_subjects(decisions)


def hidden_by_filters(actor: Actor, filters: Filters) -> int:
    """Return how many entries match the words of a search if its other filters are left
    out, counted up to COUNTED + 1.
    """
    words = Filters(text=filters.text, to=filters.to, by=filters.by)
    if not words.narrows or words.pairs() == filters.pairs():
        return 0
    return readable(actor, words)[: COUNTED + 1].count()


# --- Counts beside it -----------------------------------------------------------------


# One value of a facet: (value, how many of the newest matches have it, label).
Count = tuple[str, int, str]


@dataclass(frozen=True)
class Facets:
    """The counts of the newest matches by several fields, the most frequent values
    first. `total` is the number of matches; `is_cut`: there are more than COUNTED.
    """

    total: int
    is_cut: bool
    # How many technical entries match, and are folded.
    folded: int
    # By the field of `Filters` with which the search can be narrowed to a value.
    counts: dict[str, list[Count]]

    @property
    def is_one(self) -> bool:
        """Whether exactly one entry matches."""
        return self.total == 1 and not self.is_cut

    @property
    def shown(self) -> str:
        """The number of matches, for people."""
        return f"more than {COUNTED:,}" if self.is_cut else f"{self.total:,}"

    @property
    def folded_shown(self) -> str:
        """The number of folded entries, for people."""
        return f"{COUNTED:,}+" if self.folded > COUNTED else f"{self.folded:,}"


# How many values of a facet are returned.
_MOST_VALUES = 30


def facets_of(
    entries: EntryQuerySet, filters: Filters, *, actor: Actor
) -> Facets | None:
    """Return the facets of these entries, as far as the page shows them; None if
    counting takes too long.
    """
    # Reads the newest matches, and counts their values in Python.
    with suppress(SearchTooLongError), _noticing_cancelled(), transaction.atomic():
        shown = shown_of(entries, filters).newest_first()[: COUNTED + 1]
        newest = list(
            shown.values_list(
                "pk", "action", "actor_kind", "actor_id", "surface", "connection"
            )
        )
        actions = Counter[str]()
        actors = Counter[str]()
        surfaces = Counter[str]()
        connections = Counter[int]()
        # By actor, the number of their newest entry, whose details have the name.
        newest_of: dict[str, int] = {}
        for pk, action, kind, key, surface, connection in newest[:COUNTED]:
            actor_key = f"{kind}/{key}"
            newest_of.setdefault(actor_key, pk)
            actions[action] += 1
            actors[actor_key] += 1
            surfaces[surface] += 1
            if connection:
                connections[connection] += 1
        # Of equally frequent ones, those with the newest entry come first.
        frequent = actors.most_common(_MOST_VALUES)
        names = dict(
            EntryDetail.objects.filter(
                pk__in=[newest_of[actor_key] for actor_key, _ in frequent]
            ).values_list("pk", "fields__actor")
        )
        counts: dict[str, list[Count]] = {
            "action": [
                (action, number, kind_label(action))
                for action, number in actions.most_common(_MOST_VALUES)
            ],
            "actor": [
                (
                    actor_key,
                    number,
                    names.get(newest_of[actor_key]) or actor_key.replace("/", " "),
                )
                for actor_key, number in frequent
            ],
            "surface": [
                (surface, number, SURFACES.get(surface, surface))
                for surface, number in surfaces.most_common(_MOST_VALUES)
            ],
            "connection": [],
        }
        # With a single connection there is nothing to narrow.
        if len(connections) > 1 or filters.connection:
            labels = dict(visible("connections", actor).values_list("pk", "name"))
            # Connections that the actor may not see are left out.
            counts["connection"] = [
                (str(key), number, labels[key])
                for key, number in connections.most_common(_MOST_VALUES)
                if key in labels
            ]
        folded = 0
        if filters.folds:
            folded = entries.filter(IS_TECHNICAL).order_by()[: COUNTED + 1].count()
        return Facets(min(len(newest), COUNTED), len(newest) > COUNTED, folded, counts)
    return None
