"""Second factors of people: adding and taking them off, and which roles need one.

A passkey counts as two factors, because it is on a device and opens with a finger, a face or a number.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from allauth.mfa.models import Authenticator
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from audit.recording import changed, record
from common.encryption import encrypt
from common.postgres.anew import atomic_anew
from people.actors import Actor, Role
from people.errors import CodeNotRight, FactorNotAllowed
from people.models import Grant, Person, RecoveryCode, RoleRule
from people.sign_in import totp as app_codes
from people.sign_in.backend import strict_grants, with_factor_rule
from people.sign_in.sessions import end_sessions, reach_changed

APP, PASSKEY = Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN
KINDS = {APP.value: "authenticator app", PASSKEY.value: "passkey"}
MOST_PASSKEYS = 20


@dataclass(frozen=True)
class Factor:
    """One second factor of a person."""

    id: int
    kind: str
    name: str
    added_at: datetime
    used_at: datetime | None

    @property
    def is_passkey(self) -> bool:
        return self.kind == str(PASSKEY.value)


def factors_of(person_id: int) -> list[Factor]:
    """Return a person's second factors, the oldest first."""
    rows = Authenticator.objects.filter(user=person_id, type__in=KINDS).order_by("pk")
    return [
        Factor(one.pk, one.type, one.data.get("name") or KINDS[one.type], one.created_at, one.last_used_at)
        for one in rows
    ]


def has_second_factor(person_id: int) -> bool:
    """Whether the person has an authenticator app or a passkey."""
    return bool(Authenticator.objects.filter(user=person_id, type__in=KINDS).exists())


def needs_second_factor(person: Person) -> bool:
    """Whether a role that the person has needs a second factor; without a query where the sign-in read it along."""
    known: bool | None = getattr(person, "needs_factor", None)
    if known is None:
        known = strict_grants().filter(person=person).exists()
    return known


@atomic_anew
def add_app(*, actor: Actor, secret: str, code: str) -> None:
    """Let the actor's authenticator app count from now on; `code` proves that it has the secret.

    Raises CodeNotRight, or FactorNotAllowed where there is an app already.
    """
    person = _lock(actor)
    if Authenticator.objects.filter(user=person.pk, type=APP).exists():
        raise FactorNotAllowed("You have an authenticator app already. Take it off first.")
    counter = app_codes.counter_of(secret, code, after=0)
    if counter is None:
        raise CodeNotRight("This is not the code that the app shows now. Wait for the next one and type that.")
    # The code that proved it is used up: it does not sign anybody in.
    data = {"secret": encrypt(secret), "used": counter}
    Authenticator.objects.create(user=person, type=APP, data=data)
    _record_added(KINDS[APP.value], actor)


@atomic_anew
def add_passkey(*, actor: Actor, name: str, credential: dict[str, Any]) -> None:
    """Keep a passkey of the actor's, whose making was checked. Raises FactorNotAllowed where there are too many."""
    person = _lock(actor)
    if Authenticator.objects.filter(user=person.pk, type=PASSKEY).count() >= MOST_PASSKEYS:
        raise FactorNotAllowed(f"You have {MOST_PASSKEYS} passkeys. Take one off that you do not use.")
    Authenticator.objects.create(user=person, type=PASSKEY, data={"name": name, "credential": credential})
    _record_added(f"{KINDS[PASSKEY.value]} {name}", actor)


@atomic_anew
def rename_passkey(*, actor: Actor, factor_id: int, name: str) -> None:
    """Give a passkey of the actor's another name; recorded where that changes something."""
    passkey = Authenticator.objects.select_for_update().get(pk=factor_id, user=int(actor.id), type=PASSKEY)
    before = str(passkey.data.get("name", ""))
    if before != name:
        passkey.data["name"] = name
        passkey.save(update_fields=["data"])
        record("person.factor_renamed", actor=actor, details=changed(before=before, after=name))


@atomic_anew
def remove_factor(*, actor: Actor, factor_id: int) -> Factor:
    """Take one of the actor's own factors off. Raises FactorNotAllowed for the last one of who must have one."""
    person = _lock(actor)
    found = factors_of(person.pk)
    removed = next(one for one in found if one.id == factor_id)
    if len(found) == 1 and needs_second_factor(person):
        raise FactorNotAllowed(
            "Your role needs a second factor, and this is your only one. Add another first, then take this one off."
        )
    _take_off(person, [removed], actor=actor)
    return removed


@atomic_anew
def remove_factors_of(*, actor: Actor, person: Person) -> int:
    """Take all factors off somebody who lost them, so that they come in by password and set one up. Says how many."""
    _may_set(actor)
    if str(person.pk) == actor.id:
        raise FactorNotAllowed("Take your own factors off on your page of factors.")
    Person.objects.select_for_update().get(pk=person.pk)
    found = factors_of(person.pk)
    _take_off(person, found, actor=actor)
    # Whoever holds the lost device may be signed in with it.
    end_sessions(person)
    return len(found)


@atomic_anew
def set_role_rule(*, actor: Actor, role: Role, needed: bool) -> bool:
    """Say whether everybody with `role` needs a second factor; return whether that changed anything.

    Only an admin of everything may, and not for a role of their own while they have no second factor: they would lock
    themselves out. Raises FactorNotAllowed.
    """
    _may_set(actor)
    if needed and actor.has(role) and not has_second_factor(int(actor.id)):
        raise FactorNotAllowed(
            f"You are {_a(role)} yourself and have no second factor. Set one up first; otherwise you lock yourself out."
        )
    rule, _ = RoleRule.objects.select_for_update().get_or_create(role=role)
    if rule.needs_second_factor == needed:
        return False
    RoleRule.objects.filter(pk=rule.pk).update(needs_second_factor=needed, changed_by=int(actor.id), changed_at=Now())
    if needed:
        # Streams that are open for whoever has none close at once.
        for key in Person.objects.filter(grants__role=role).values_list("pk", flat=True).distinct():
            reach_changed.send(sender=Person, person=key)
    told = changed(before=_rule_in_words(not needed), after=_rule_in_words(needed))
    record(
        "role.second_factor_set", actor=actor, details={"role": role.value, "needed": "yes" if needed else "no", **told}
    )
    return True


def may_set_rules(actor: Actor) -> bool:
    """Whether the actor is an admin of everything, who alone says what all need."""
    return any(one.role is Role.ADMIN and one.connection is None and one.mailbox is None for one in actor.scopes)


def people_by_factor() -> list[Person]:
    """Return everybody who is active and has a role, who lacks a factor first, with `roles` and `has_factor`."""
    having = Authenticator.objects.filter(type__in=KINDS, user=OuterRef("pk"))
    people = Person.objects.filter(is_active=True, pk__in=Grant.objects.values("person"))
    found: list[Person] = list(
        with_factor_rule(people)
        .annotate(has_factor=Exists(having))
        .order_by("has_factor", "name", "email")
        .prefetch_related("grants")
    )
    for person in found:
        person.roles = sorted({grant.role for grant in person.grants.all()})  # type: ignore[attr-defined]
    return found


def _may_set(actor: Actor) -> None:
    if not may_set_rules(actor):
        raise FactorNotAllowed("Only an admin of everything says who needs a second factor.")


def _take_off(person: Person, factors: list[Factor], *, actor: Actor) -> None:
    """Delete factors of a locked person; recovery codes go with the last one, as they stand in for nothing then."""
    Authenticator.objects.filter(user=person.pk, pk__in=[one.id for one in factors]).delete()
    if not has_second_factor(person.pk):
        RecoveryCode.objects.filter(person=person).delete()
    for one in factors:
        details = {"factor": one.name, "of": person.email, **changed(before=one.name, after="")}
        record("person.factor_removed", actor=actor, details=details)


def _record_added(factor: str, actor: Actor) -> None:
    record("person.factor_added", actor=actor, details={"factor": factor, **changed(before="", after=factor)})


def _rule_in_words(needed: bool) -> str:
    return "a second factor is needed" if needed else "no second factor is needed"


def _lock(actor: Actor) -> Person:
    return Person.objects.select_for_update().get(pk=int(actor.id))


def _a(role: Role) -> str:
    return f"an {role}" if role.value[0] == "a" else f"a {role}"
