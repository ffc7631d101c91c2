"""Makes and withdraws one-time links: by one somebody joins the desk, by another sets a new password.

A link carries what its maker may give, and carries it only while they may.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db.models.functions import Now
from django.urls import reverse

from audit.recording import record
from common.postgres.anew import atomic_anew
from people.actors import Actor, Role
from people.errors import NotYours
from people.models import Invitation, Person
from people.roles.places import (
    Place,
    grants_kept,
    grants_of,
    in_words,
    is_admin_of,
    is_covered_by,
    kept_grants,
    role_words,
)
from people.standing import actor_now, check_covers, lock_for, lock_people
from people.tokens import hash_of, new_token

DAYS = 7
MOST_DAYS = 30
PASSWORD_LASTS = timedelta(hours=24)


@dataclass(frozen=True)
class Made:
    """A link that was just made: the only moment in which its address is known."""

    invitation: Invitation
    url: str = field(repr=False)


@atomic_anew
def invite(*, actor: Actor, email: str, name: str, roles: Sequence[tuple[Role, Place]], lasts: timedelta) -> Made:
    """Make a link by which whoever has this address joins with these roles; an earlier one of the actor's is void."""
    now = _locked(actor)
    _check_gives(now, [place for _, place in roles])
    known = Person.objects.filter(email=email).first()
    if known is not None and now.kind == "person" and now.id == str(known.pk):
        raise NotYours("This is your own address. Nobody gives themselves a role.")
    if known is not None and not known.is_active:
        raise NotYours("An account of this address is deactivated. Let them in again on their page, if that is right.")
    own = Invitation.objects.filter(kind=Invitation.Kind.JOIN, invited_by_id=_key_of(now))
    # An operator's are for the first admin, of whom there is one.
    (own.filter(email=email) if now.kind == "person" else own).withdraw()
    made = _make(now, Invitation(email=email, name=name, grants=kept_grants(roles)), lasts)
    words = ", ".join(role_words(role, place.name) for role, place in roles)
    record("person.invited", actor=now, details={"email": email, "roles": words, "until": _until(made)})
    return made


@atomic_anew
def make_anew(*, actor: Actor, invitation_id: int) -> Made:
    """Make another link in the place of one that nobody used: the earlier one is void."""
    invitation = _own(_locked(actor), invitation_id)
    roles = grants_kept(invitation.grants)
    if not roles:
        raise NotYours("What this invitation was for is not at the desk any more. Invite them anew.")
    lasts = invitation.expires_at - invitation.created_at
    Invitation.objects.filter(pk=invitation.pk).withdraw()
    return invite(actor=actor, email=invitation.email, name=invitation.name, roles=roles, lasts=lasts)


@atomic_anew
def withdraw(*, actor: Actor, invitation_id: int) -> Invitation:
    """Let a link not be used any more; one that was used or withdrawn before stays as it is."""
    now = _locked(actor)
    invitation = _own(now, invitation_id)
    if Invitation.objects.filter(pk=invitation.pk).withdraw():
        record("person.invitation_withdrawn", actor=now, details={"email": invitation.email})
    return invitation


@atomic_anew
def make_password_link(*, actor: Actor, person_id: int) -> Made:
    """Make a link by which somebody sets a new password; an earlier one is void. The second factor stays."""
    now, person = lock_for(actor, person_id)
    if now.kind == "person" and now.id == str(person.pk):
        raise NotYours("This is your own account. Change your password there.")
    check_covers(now, person)
    if not person.is_active:
        raise NotYours(f"{person} is deactivated. Let them in again first.")
    withdraw_passwords_of(person)
    kind = Invitation.Kind.PASSWORD
    made = _make(now, Invitation(kind=kind, email=person.email, name=person.name, person=person), PASSWORD_LASTS)
    details = {"person": str(person), "email": person.email, "until": _until(made)}
    record("person.password_link_made", actor=now, details=details, about=person)
    return made


def withdraw_passwords_of(person: Person) -> None:
    """Let no link for this person's password be used any more, in the caller's transaction."""
    Invitation.objects.passwords_of(person).withdraw()


def withdraw_all_by(person: Person) -> None:
    """Let no link be used any more that this person made, in the caller's transaction."""
    Invitation.objects.filter(invited_by=person).withdraw()


def may_handle(actor: Actor, invitation: Invitation, places: Mapping[str, Place] | None = None) -> bool:
    """Whether the actor looks after all that a link gives, with the places that there are where they are known."""
    if invitation.kind == Invitation.Kind.PASSWORD and invitation.person is not None:
        return is_covered_by(actor, grants_of(invitation.person))
    gives = [place for _, place in grants_kept(invitation.grants, places)]
    return all(is_admin_of(actor, place) for place in gives or [Place()])


def roles_of(invitation: Invitation, places: Mapping[str, Place] | None = None) -> str:
    """Return in words what a link gives."""
    roles = grants_kept(invitation.grants, places)
    return ", ".join(role_words(role, place.name) for role, place in roles) or in_words([])


def _locked(actor: Actor) -> Actor:
    """Return the actor as they are now, locked: what they may give stays so until the link is made."""
    lock_people(*([int(actor.id)] if actor.kind == "person" else []))
    return actor_now(actor)


def _own(actor: Actor, invitation_id: int) -> Invitation:
    invitation = Invitation.objects.select_related("person").filter(pk=invitation_id).first()
    if invitation is None or not may_handle(actor, invitation):
        raise NotYours("There is no such invitation, or you do not look after what it gives.")
    return invitation


def _check_gives(actor: Actor, places: Sequence[Place]) -> None:
    beyond = next((place for place in places if not is_admin_of(actor, place)), None)
    if beyond is not None:
        raise NotYours(f"Only an admin of {beyond.name} can give roles there.")
    if not places:
        raise NotYours("Choose at least one role.")


def _key_of(actor: Actor) -> int | None:
    return int(actor.id) if actor.kind == "person" else None


def _make(actor: Actor, invitation: Invitation, lasts: timedelta) -> Made:
    token = new_token()
    invitation.token_hash = hash_of(token)
    invitation.invited_by_id = _key_of(actor)
    invitation.expires_at = Now() + lasts
    invitation.save()
    invitation.refresh_from_db()
    return Made(invitation, f"{settings.PUBLIC_URL}{reverse('join', kwargs={'token': token})}")


def _until(made: Made) -> str:
    return f"{made.invitation.expires_at:%Y-%m-%d %H:%M} UTC"
