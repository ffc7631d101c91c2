"""Who had which role where at a moment, within the reader's visible scope. It only
reads.

`people.models.GrantPeriod` has the periods of each role, as old as the desk, because
triggers write them from its first role on. The ledger shows what else prevented
somebody from deciding: a role that needed a second factor, and no factor.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from audit.models import Entry
from audit.trail import lines
from common.actors import Actor, Role
from people.models import GrantPeriod, Person
from people.roles.targets import all_targets

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
    return (
        found if everywhere else found.reaching(connection=connection, mailbox=mailbox)
    ).by_person()


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
    known = {
        one.pk: one
        for one in Person.objects.filter(pk__in={row.person for row in rows})
    }
    rules, hindered = _hindered(rows, at) if at else (SecondFactorRules(), {})
    rights = []
    for row in rows:
        person = known.get(row.person)
        target = (
            row.place if _is_named_to(actor, row.connection, row.mailbox) else _AROUND
        )
        name = str(person) if person else row.name or row.email
        rights.append(
            Right(row, name, person is not None, target, hindered.get(row.person, ""))
        )
    return rights, rules


def target_labels(actor: Actor) -> dict[str, str]:
    """Return the labels of the targets to choose from, by value: today's first, then
    former ones.
    """
    looking = actor.acting_as(Role.ADMIN, Role.AUDITOR)
    here = {
        value: one
        for value, one in all_targets().items()
        if _is_named_to(actor, one.connection, one.mailbox)
    }
    named = {value: one.label for value, one in here.items()}
    before = (
        GrantPeriod.objects.read_by(looking).exclude(connection=None).order_by("place")
    )
    for connection, mailbox, target in before.values_list(
        "connection", "mailbox", "place"
    ).distinct()[:MAX_PLACES]:
        value = f"connection-{connection}" if mailbox is None else f"mailbox-{mailbox}"
        if value not in named and _is_named_to(actor, connection, mailbox):
            named[value] = (
                f"{'Connection' if mailbox is None else 'Mailbox'} {target} (removed)"
            )
    return named


def target_keys(value: str) -> dict[str, int | None]:
    """Return the connection and mailbox of a form's value; a deleted mailbox is looked
    up in the history.
    """
    kind, _, key = value.partition("-")
    if kind == "mailbox":
        known = all_targets().get(value)
        row = (
            GrantPeriod.objects.filter(mailbox=int(key))
            .values_list("connection", flat=True)
            .first()
        )
        return {"connection": known.connection if known else row, "mailbox": int(key)}
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
    having, is_known = _factors_at(at, asked)
    if not is_known:
        sentence = (
            "The role needed a second factor; whether they had one is no longer known"
        )
        return rules, dict.fromkeys(asked, sentence)
    lacking = set(asked) - having
    return rules, dict.fromkeys(
        lacking, "Had no second factor, which the role needed: could not act"
    )


def _strict_at(at: datetime) -> SecondFactorRules:
    """Return the roles that needed a second factor at that moment, by the ledger."""
    changes = (
        Entry.objects.of_action("role.second_factor_set")
        .filter(at__lte=at)
        .newest_first()
    )
    found: dict[str, bool] = {}
    for line in lines(changes[:_MAX_READ]):
        role = line.details.get("role", "")
        if not role:
            # Its details were redacted: the new rule is not known, and it overrides
            # earlier changes.
            return SecondFactorRules(
                tuple(sorted(name for name, needed in found.items() if needed)),
                is_known=False,
            )
        found.setdefault(role, line.details.get("needed") == "yes")
    return SecondFactorRules(
        tuple(sorted(name for name, needed in found.items() if needed))
    )


def _factors_at(at: datetime, people: Mapping[int, str]) -> tuple[set[int], bool]:
    """Return who of these had a second factor at that moment, and whether the ledger
    still has all its details.
    """
    added = Entry.objects.of_action("person.factor_added").filter(
        at__lte=at, actor_kind="person"
    )
    adding = added.filter(actor_id__in=[str(one) for one in people]).values_list(
        "actor_id", flat=True
    )
    number = Counter(int(one) for one in adding)
    by_email = {email: person for person, email in people.items()}
    for line in lines(
        Entry.objects.of_action("person.factor_removed")
        .filter(at__lte=at)
        .newest_first()[:_MAX_READ]
    ):
        if "of" not in line.details:
            return set(), False
        number[by_email.get(line.details["of"], 0)] -= 1
    return {person for person in people if number[person] > 0}, True
