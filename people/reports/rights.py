"""Who had which role where at a moment, within the reader's visible scope. It only
reads.

`people.models.GrantPeriod` has the periods of each role, as old as the desk, because
triggers write them from its first role on. The ledger shows what else prevented
somebody from deciding: a role that needed a second factor, and no factor.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from audit.models import Entry
from audit.trail import lines
from common.actors import Actor, Role
from people.models import GrantPeriod, Person
from people.roles.targets import GrantTarget, all_targets

MAX_PLACES = 500
# The name of a target for readers who may see only a part of it.
_AROUND = "the whole connection"
# The limit of changes of rules and factors that are read; a desk has a few a year.
_MAX_READ = 5_000


@dataclass(frozen=True)
class Right:
    """A role that was in force: its person, target, and what prevented its use."""

    period: GrantPeriod
    name: str
    is_here: bool
    place: str
    hindrance: str = ""

    @property
    def words(self) -> str:
        return f"{self.period.role} of {self.place}"


@dataclass(frozen=True)
class SecondFactorRules:
    """Which roles needed a second factor at a moment, and whether that is still known."""

    strict: tuple[str, ...] = ()
    is_known: bool = True


def rights_at(
    actor: Actor,
    at: datetime,
    *,
    connection: int | None = None,
    mailbox: int | None = None,
    everywhere: bool = True,
) -> Any:
    """Return the periods in force at a moment, of all targets or of those that include
    one, by person.
    """
    found = GrantPeriod.objects.read_by(actor).in_force_at(at)
    if not everywhere:
        found = found.reaching(connection=connection, mailbox=mailbox)
    return found.by_person()


def timeline_of(actor: Actor, person: int) -> Any:
    """Return all periods of one person that the actor may read, oldest first."""
    return GrantPeriod.objects.read_by(actor).of_person(person).oldest_first()


def as_rights(
    actor: Actor, periods: Iterable[GrantPeriod], *, at: datetime | None = None
) -> tuple[list[Right], SecondFactorRules]:
    """Return periods with today's names, and with what prevented the use of each at
    `at`.
    """
    rows = list(periods)
    known = Person.objects.in_bulk({row.person for row in rows})
    rules, hindered = _hindered(rows, at) if at else (SecondFactorRules(), {})
    rights = []
    for row in rows:
        person = known.get(row.person)
        target = _AROUND
        if _is_named_to(actor, row.connection, row.mailbox):
            target = row.place
        name = str(person) if person else row.name or row.email
        hindrance = hindered.get(row.person, "")
        rights.append(Right(row, name, person is not None, target, hindrance))
    return rights, rules


def target_labels(actor: Actor) -> dict[str, str]:
    """Return the labels of the targets to choose from, by value: today's first, then
    former ones.
    """
    named = {
        value: one.label
        for value, one in all_targets().items()
        if _is_named_to(actor, one.connection, one.mailbox)
    }
    periods = GrantPeriod.objects.read_by(actor).exclude(connection=None)
    former = periods.values_list("connection", "mailbox", "place").distinct()
    for connection, mailbox, name in former.order_by("place")[:MAX_PLACES]:
        target = GrantTarget(connection, mailbox, name)
        if _is_named_to(actor, connection, mailbox):
            named.setdefault(target.value, f"{target.label} (removed)")
    return named


def target_keys(value: str) -> dict[str, int | None]:
    """Return the connection and mailbox of a form's value; a deleted mailbox is looked
    up in the history.
    """
    kind, _, key = value.partition("-")
    if kind == "mailbox":
        known = (
            all_targets().get(value)
            or GrantPeriod.objects.filter(mailbox=int(key)).first()
        )
        return {
            "connection": known.connection if known else None,
            "mailbox": int(key),
        }
    return {"connection": int(key) if kind == "connection" else None, "mailbox": None}


def _is_named_to(actor: Actor, connection: int | None, mailbox: int | None) -> bool:
    """Whether the actor may see a target's name: it must be within their visible scope
    as admin or auditor.
    """
    if connection is None:
        return True
    scopes = actor.acting_as(Role.ADMIN, Role.AUDITOR).scopes
    return any(
        scope.reaches(connection=connection, mailbox=mailbox) for scope in scopes
    )


def _hindered(
    rows: Sequence[GrantPeriod], at: datetime
) -> tuple[SecondFactorRules, dict[int, str]]:
    """Return which roles needed a second factor then, and which of these people lacked
    one.
    """
    rules = _strict_at(at)
    # If one role of a person needed a second factor, none of their roles could be used
    # without one.
    strict = GrantPeriod.objects.in_force_at(at).filter(
        person__in={row.person for row in rows}, role__in=rules.strict
    )
    asked = dict(strict.values_list("person", "email")) if rules.strict else {}
    if not asked:
        return rules, {}
    added = Entry.objects.of_action("person.factor_added").filter(
        at__lte=at, actor_kind="person", actor_id__in=[str(one) for one in asked]
    )
    factors = Counter(int(key) for key in added.values_list("actor_id", flat=True))
    by_email = {email: person for person, email in asked.items()}
    for details in _details_until(at, "person.factor_removed"):
        if "of" not in details:
            return rules, dict.fromkeys(
                asked,
                "The role needed a second factor; whether they had one is no longer known",
            )
        factors[by_email.get(details["of"], 0)] -= 1
    lacking = [person for person in asked if factors[person] <= 0]
    return rules, dict.fromkeys(
        lacking, "Had no second factor, which the role needed: could not act"
    )


def _strict_at(at: datetime) -> SecondFactorRules:
    """Return the roles that needed a second factor at that moment, by the ledger."""
    is_known = True
    found: dict[str, bool] = {}
    for details in _details_until(at, "role.second_factor_set"):
        if not details.get("role"):
            # Its details were redacted: the new rule is not known, and it overrides
            # earlier changes.
            is_known = False
            break
        found.setdefault(details["role"], details.get("needed") == "yes")
    strict = sorted(role for role, is_needed in found.items() if is_needed)
    return SecondFactorRules(tuple(strict), is_known)


def _details_until(at: datetime, action: str) -> Iterator[Mapping[str, str]]:
    """Return the details of the entries of an action until a moment, newest first."""
    entries = Entry.objects.of_action(action).filter(at__lte=at).newest_first()
    return (line.details for line in lines(entries[:_MAX_READ]))
