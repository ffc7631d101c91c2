"""Whether review is real: how fast and how unread messages are approved, and what becomes of practice messages.

Figures of teams come first: of groups of the policy, and of mailboxes. A team of fewer than three who decided is not
shown apart, for its figures would be those of single people; these are shown only where an admin says that law and
agreements allow it. It stops nobody.

A message cannot be read faster than 60 characters a second, about ten words, nor at all in less than 2 seconds.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from django.db.models import QuerySet

from approvals.models import Verdict
from approvals.planted import PracticeMessage
from approvals.querysets.figures import ReadVerdict
from common.charts import spoken
from mirror.models import Mailbox, Message
from mirror.states import Outcome
from people.actors import Actor, Role
from people.models import Person
from people.second_admin.person_figures import FEWEST
from policy.models import Group
from policy.standing_models import StandingUse

SHORTEST = 2.0
CHARACTERS_A_SECOND = 60
PERIOD, CHECKED = timedelta(days=30), timedelta(days=90)
# The newest of each are looked at: the page says so where there are more.
MOST, MOST_CHECKED = 5000, 2000
_LENGTHS = (("Up to 600 characters", 0, 600), ("600 to 3,000", 600, 3000), ("More than 3,000", 3000, 10**9))


@dataclass(frozen=True)
class Checked:
    """One message that checks review: who decided it, where, and whether as it should be.

    A practice message should be stopped; a blind sample should be decided as its standing approval would have.
    """

    person: int
    mailbox: int | None
    is_right: bool


@dataclass(frozen=True)
class ReviewRow:
    """The figures of one team, or of one person where that is allowed; times in seconds."""

    label: str
    decisions: int
    approvals: int
    unread: int
    known: int
    median_open: float | None
    a_minute: float
    peak: int
    practised: int
    caught: int
    sampled: int
    agreed: int

    @property
    def unread_share(self) -> str:
        """The share of approvals that were open for less than it takes to read them, or with parts never opened."""
        return share(self.unread, self.known)

    @property
    def caught_share(self) -> str:
        return share(self.caught, self.practised)

    @property
    def agreed_share(self) -> str:
        return share(self.agreed, self.sampled)

    @property
    def open_for(self) -> str:
        return "" if self.median_open is None else spoken(self.median_open)


@dataclass(frozen=True)
class LengthRow:
    """How long messages of a length were open before they were approved, against the shortest time to read them."""

    label: str
    approvals: int
    open_for: str
    needed: str
    too_fast: str


@dataclass(frozen=True)
class ReviewReport:
    """The whole report. Without `total` fewer than three people decided anything."""

    total: ReviewRow | None
    groups: tuple[ReviewRow, ...]
    mailboxes: tuple[ReviewRow, ...]
    people: tuple[ReviewRow, ...]
    lengths: tuple[LengthRow, ...]
    hidden: int
    is_cut: bool

    @property
    def total_rows(self) -> tuple[ReviewRow, ...]:
        """The row of everybody, for a table of its own."""
        return (self.total,) if self.total else ()


def reading_seconds(characters: int) -> float:
    """Return the shortest time in which a person can have read so many characters."""
    return max(SHORTEST, characters / CHARACTERS_A_SECOND)


def is_unread(one: ReadVerdict) -> bool | None:
    """Whether an approval was given without reading all of it; None where neither was recorded."""
    if one.seconds is None and one.parts_unread is None:
        return None
    return bool(one.parts_unread) or (one.seconds is not None and one.seconds < reading_seconds(one.characters))


def share(part: int, whole: int) -> str:
    """Return a share in per cent, empty where there is nothing to share."""
    return f"{100 * part / whole:.0f} %" if whole else ""


@dataclass(frozen=True)
class Reviewed:
    """What a team decided, and the practice messages and samples among it."""

    given: Sequence[ReadVerdict]
    practised: Sequence[Checked] = ()
    sampled: Sequence[Checked] = ()

    @property
    def people(self) -> set[int]:
        """The keys of all who decided any of it."""
        return {one.person for one in self.given} | {one.person for one in (*self.practised, *self.sampled)}

    def of_people(self, people: Collection[int]) -> "Reviewed":
        """Return what these people decided."""
        return Reviewed(
            [one for one in self.given if one.person in people],
            [one for one in self.practised if one.person in people],
            [one for one in self.sampled if one.person in people],
        )

    def in_mailbox(self, mailbox: int) -> "Reviewed":
        """Return what was decided in this mailbox."""
        return Reviewed(
            [one for one in self.given if one.mailbox == mailbox],
            [one for one in self.practised if one.mailbox == mailbox],
            [one for one in self.sampled if one.mailbox == mailbox],
        )


def review_report(actor: Actor, *, now: datetime, with_people: bool) -> ReviewReport:
    """Return the figures of the last 30 days, of what checks review 90, where the actor is admin or auditor."""
    looking = actor.acting_as(Role.ADMIN, Role.AUDITOR)
    visible = Message.objects.visible_to(looking)
    of_theirs = Verdict.objects.all() if looking.sees_all() else Verdict.objects.on(visible)
    practised = PracticeMessage.objects.visible_to(looking).filter(person__isnull=False, ended_at__gt=now - CHECKED)
    sampled = StandingUse.objects.samples().filter(person__isnull=False, decided_at__gt=now - CHECKED)
    if not looking.sees_all():
        sampled = sampled.filter(message__in=visible.values("pk"))
    found = Reviewed(
        of_theirs.read_lately(now - PERIOD, most=MOST), _checked(practised, "caught"), _checked(sampled, "agreed")
    )
    checked = (*found.practised, *found.sampled)
    names = _addresses({one.mailbox for one in found.given} | {one.mailbox for one in checked})
    people = {one.pk: str(one) for one in Person.objects.filter(pk__in=found.people)} if with_people else {}
    return add_up(found, groups=_members(), mailboxes=names, people=people, with_people=with_people)


def _checked(rows: QuerySet[Any], right: str) -> list[Checked]:
    newest = rows.order_by("-pk").values_list("person", "message__mailbox", "outcome")[:MOST_CHECKED]
    return [Checked(person, mailbox, outcome == right) for person, mailbox, outcome in newest]


def add_up(
    found: Reviewed,
    *,
    groups: Mapping[str, Collection[int]],
    mailboxes: Mapping[int, str],
    people: Mapping[int, str],
    with_people: bool,
) -> ReviewReport:
    """Return the report of these: of groups by their members, of mailboxes and people by their names. Pure."""
    whole = _row("All", found)
    teams = [(name, found.of_people(members)) for name, members in groups.items()]
    boxes = [(address, found.in_mailbox(key)) for key, address in mailboxes.items()]

    def shown(parts: Sequence[tuple[str, Reviewed]]) -> tuple[ReviewRow, ...]:
        return tuple(_row(name, one) for name, one in parts if with_people or len(one.people) >= FEWEST)

    total = whole if with_people or len(found.people) >= FEWEST else None
    # By name, so that it is no ranking.
    single = sorted(people.items(), key=lambda one: one[1].casefold()) if with_people else []
    return ReviewReport(
        total=total,
        groups=shown(teams),
        mailboxes=shown(boxes),
        people=tuple(_row(name, found.of_people({key})) for key, name in single),
        lengths=_lengths(found.given) if total else (),
        hidden=0 if with_people else sum(0 < len(one.people) < FEWEST for _, one in (*teams, *boxes)),
        is_cut=len(found.given) >= MOST,
    )


def _row(label: str, found: Reviewed) -> ReviewRow:
    given = found.given
    approvals = [one for one in given if one.outcome == Outcome.APPROVE]
    known = [is_it for one in approvals if (is_it := is_unread(one)) is not None]
    minutes = Counter((one.person, one.at.replace(second=0, microsecond=0)) for one in given)
    open_for = [one.seconds for one in approvals if one.seconds is not None]
    return ReviewRow(
        label=label,
        decisions=len(given),
        approvals=len(approvals),
        unread=sum(known),
        known=len(known),
        median_open=float(median(open_for)) if open_for else None,
        a_minute=float(median(minutes.values())) if minutes else 0.0,
        peak=max(minutes.values(), default=0),
        practised=len(found.practised),
        caught=sum(one.is_right for one in found.practised),
        sampled=len(found.sampled),
        agreed=sum(one.is_right for one in found.sampled),
    )


def _lengths(given: Sequence[ReadVerdict]) -> tuple[LengthRow, ...]:
    timed = [one for one in given if one.outcome == Outcome.APPROVE and one.seconds is not None]
    rows = []
    for label, least, below in _LENGTHS:
        these = [one for one in timed if least <= one.characters < below]
        if these:
            fast = sum((one.seconds or 0) < reading_seconds(one.characters) for one in these)
            rows.append(
                LengthRow(
                    label,
                    len(these),
                    spoken(median(one.seconds or 0 for one in these)),
                    spoken(median(reading_seconds(one.characters) for one in these)),
                    share(fast, len(these)),
                )
            )
    return tuple(rows)


def _members() -> dict[str, set[int]]:
    found: dict[str, set[int]] = defaultdict(set)
    for name, person in Group.objects.order_by("name").values_list("name", "members"):
        found[name] |= {person} if person else set()
    return {name: people for name, people in found.items() if len(people) >= FEWEST}


def _addresses(keys: Collection[int | None]) -> dict[int, str]:
    found = Mailbox.objects.filter(pk__in={key for key in keys if key})
    return {one.pk: str(one) for one in found.order_by("address", "pk")}
