"""Deactivates people at once, and reactivates them. Their past actions keep their name."""

from allauth.socialaccount.models import SocialAccount
from django.urls import reverse

from audit.recording import record
from common.actors import Actor
from common.postgres.retry import atomic_with_retry
from people.errors import NotYours
from people.models import Invitation, Person
from people.roles.grants import check_admin_left, check_covers, is_self, lock_for
from people.roles.targets import common_target, grants_of, in_words, target_of
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from people.sign_in.sessions import end_sessions


@atomic_with_retry
def deactivate(*, actor: Actor, person_id: int) -> Person:
    """Deactivate a person: end their sessions, release their claims, and withdraw their
    open links.

    Their decisions that were not executed yet are refused when due, because the ruling
    is checked again then.
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
@second_admin("Reactivation")
def reactivate(*, actor: Actor, person_id: int) -> CanWait[Person]:
    """Reactivate a person, with their old password, second factor and roles.

    Who they were at the sign-in provider is forgotten: they may have a new account
    there, which is found by its verified address.
    """
    now, person = lock_for(actor, person_id)
    check_covers(now, person)
    grants = grants_of(person)
    roles = in_words(grants)
    target = common_target(target_of(grant) for grant in grants)
    yield lambda: ChangeInWords(
        title=f"{person}: reactivate",
        before="deactivated",
        after=f"active, {roles}",
        page=reverse("person", args=[person_id]),
        connection=target.connection,
        mailbox=target.mailbox,
        about=person_id,
        based_on=roles,
        # It gives no role.
        tightens=person.is_active or not grants,
    )
    if person.is_active:
        return person
    person.is_active = True
    person.save(update_fields=["is_active"])
    SocialAccount.objects.filter(user=person).delete()
    _record("person.reactivated", now, person, before="deactivated", after="active")
    return person


def _record(
    action: str, actor: Actor, person: Person, *, before: str, after: str
) -> None:
    details = {
        "person": str(person),
        "email": person.email,
        "roles": in_words(grants_of(person)),
        "before": before,
        "after": after,
    }
    record(action, actor=actor, details=details, about=person)
