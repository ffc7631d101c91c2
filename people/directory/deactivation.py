"""Deactivates people at once, and reactivates them. Their past actions keep their name."""

from typing import Any

from allauth.socialaccount.models import SocialAccount

from audit.recording import record
from common.postgres.retry import atomic_with_retry
from people.actors import Actor
from people.errors import NotYours, PeopleError
from people.models import Invitation, Person
from people.roles.grants import check_admin_left, check_covers, is_self, lock_for
from people.roles.targets import common_target, grants_of, in_words, target_of
from people.second_admin.asking import AskedChange, SecondAdminNeeded, wants_second_admin
from people.second_admin.kinds import ChangeKind
from people.sign_in.sessions import end_sessions


@atomic_with_retry
def deactivate(*, actor: Actor, person_id: int) -> Person:
    """Deactivate a person: end their sessions, release their claims, and withdraw their open links.

    Their decisions that were not executed yet are refused when due, because the ruling is checked again then.
    """
    now, person = lock_for(actor, person_id)
    if is_self(now, person):
        raise NotYours("You cannot deactivate yourself. Ask another admin.")
    check_covers(now, person)
    if not person.is_active:
        return person
    check_admin_left(without=person)
    person.is_active = False
    # A receiver of post_save releases their claims.
    person.save(update_fields=["is_active"])
    end_sessions(person)
    Invitation.objects.passwords_of(person).withdraw()
    Invitation.objects.filter(invited_by=person).withdraw()
    _record("person.deactivated", now, person, before="active", after="deactivated")
    return person


@atomic_with_retry
def reactivate(*, actor: Actor, person_id: int) -> Person:
    """Reactivate a person, with their old password, second factor and roles.

    Who they were at the sign-in provider is forgotten: they may have a new account there, which is found by its
    verified address.

    Raises SecondAdminNeeded where the organisation wants two admins for giving roles, and the person has some.
    """
    now, person = lock_for(actor, person_id)
    check_covers(now, person)
    if person.is_active:
        return person
    if wants_second_admin(now) and grants_of(person):
        raise SecondAdminNeeded(_reactivating(person))
    person.is_active = True
    person.save(update_fields=["is_active"])
    SocialAccount.objects.filter(user=person).delete()
    _record("person.reactivated", now, person, before="deactivated", after="active")
    return person


def _record(action: str, actor: Actor, person: Person, *, before: str, after: str) -> None:
    details = {
        "person": str(person),
        "email": person.email,
        "roles": in_words(grants_of(person)),
        "before": before,
        "after": after,
    }
    record(action, actor=actor, details=details, about=person)


def _reactivating(person: Person) -> AskedChange:
    grants = grants_of(person)
    target = common_target(target_of(grant) for grant in grants)
    roles = in_words(grants)
    return AskedChange(
        kind="reactivation",
        target=f"person/{person.pk}",
        title=f"{person}: reactivate",
        before="deactivated",
        after=f"active, {roles}",
        change={"person": person.pk, "roles": roles},
        url_name="person",
        url_args={"person_id": person.pk},
        connection=target.connection,
        mailbox=target.mailbox,
        about=person.pk,
    )


def _reactivate_accepted(change: dict[str, Any], actor: Actor, code: str) -> object:
    _, person = lock_for(actor, change["person"])
    if in_words(grants_of(person)) != change["roles"]:
        raise NotYours(f"The roles of {person} have changed since this was asked.")
    return reactivate(actor=actor, person_id=person.pk)


REACTIVATION = ChangeKind("Reactivation", _reactivate_accepted, refusals=(PeopleError,))
