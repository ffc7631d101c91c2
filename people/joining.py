"""Uses one-time links: each once, by whoever has it, for the one address that it was made for."""

from dataclasses import dataclass

from django.db import IntegrityError
from django.db.models.functions import Now

from audit.recording import record
from common.postgres.anew import atomic_anew
from people.actors import Actor, Role
from people.errors import LinkNotGood, WrongPerson
from people.invitations.links import withdraw_passwords_of
from people.models import Invitation, Person
from people.roles.grants import add_grant
from people.roles.places import Place, grants_kept, grants_of, in_words, is_admin_of, is_covered_by
from people.sign_in.sessions import end_sessions
from people.standing import lock_people
from people.tokens import hash_of

NOT_GOOD = "This link does not lead anywhere any more."


@dataclass(frozen=True)
class Link:
    """A link that is good: for whom it is, whose account it is about where there is one, and what it gives."""

    invitation: Invitation
    person: Person | None
    roles: list[tuple[Role, Place]]

    @property
    def is_for_password(self) -> bool:
        """Whether it sets a new password, instead of letting somebody join."""
        return self.invitation.kind == Invitation.Kind.PASSWORD


def read_link(token: str) -> Link:
    """Return what a link is for. It changes nothing: programs that look at links in mail must not use them up.

    Raises LinkNotGood, whatever the reason.
    """
    links = Invitation.objects.good().select_related("person", "invited_by")
    invitation = links.filter(token_hash=hash_of(token)).first()
    if invitation is None:
        raise LinkNotGood(NOT_GOOD)
    is_join = invitation.kind == Invitation.Kind.JOIN
    person = Person.objects.filter(email=invitation.email).first() if is_join else invitation.person
    link = Link(invitation, person, grants_kept(invitation.grants) if is_join else [])
    if not _carries(link):
        raise LinkNotGood(NOT_GOOD)
    return link


@atomic_anew
def join(*, token: str, name: str, password: str, actor: Actor) -> Person:
    """Make an account by a link, with the roles that it gives. `actor` tells from where; they are nobody yet."""
    link = _used(token)
    if link.is_for_password or link.person is not None:
        raise LinkNotGood(NOT_GOOD)
    try:
        person = Person.objects.create_user(email=link.invitation.email, name=name, password=password)
    except IntegrityError:
        # By another link of the same address. All of this is taken back, so that the link stays good for them.
        raise WrongPerson("An account of this address was made a moment ago. Sign in with it to accept.") from None
    _give(person, link.roles)
    Invitation.objects.filter(pk=link.invitation.pk).update(person=person)
    by = str(link.invitation.invited_by or "an operator")
    details = {"email": person.email, "roles": in_words(grants_of(person)), "invited_by": by}
    record(
        "person.joined", actor=person.actor(surface=actor.surface, address=actor.address), details=details, about=person
    )
    return person


@atomic_anew
def accept_roles(*, token: str, actor: Actor) -> Person:
    """Give whoever is signed in the roles of a link that was made for their address."""
    link = _used(token)
    person = link.person
    if link.is_for_password or person is None:
        raise LinkNotGood(NOT_GOOD)
    if actor.kind != "person" or actor.id != str(person.pk):
        raise WrongPerson("This link is for another address than the one that you are signed in with.")
    before = in_words(grants_of(person))
    _give(person, link.roles)
    Invitation.objects.filter(pk=link.invitation.pk).update(person=person)
    by = str(link.invitation.invited_by or "an operator")
    details = {"person": str(person), "email": person.email, "before": before, "invited_by": by}
    details["after"] = in_words(grants_of(person))
    record("person.grants_changed", actor=actor, details=details, about=person)
    return person


@atomic_anew
def set_password(*, token: str, password: str, actor: Actor) -> Person:
    """Set a new password by a link, and end all sessions. The second factor stays: who lost both asks an admin."""
    link = _used(token)
    person = link.person
    if not link.is_for_password or person is None:
        raise LinkNotGood(NOT_GOOD)
    person.set_password(password)
    person.save(update_fields=["password"])
    end_sessions(person)
    withdraw_passwords_of(person)
    by = str(link.invitation.invited_by or "an operator")
    details = {"email": person.email, "link_by": by}
    themselves = person.actor(surface=actor.surface, address=actor.address)
    record("person.password_changed", actor=themselves, details=details, about=person)
    return person


def _used(token: str) -> Link:
    """Use a link up, by compare-and-set: of two at once, one gets it. Its maker's roles are locked before."""
    link = read_link(token)
    invitation = link.invitation
    lock_people(*(key for key in (invitation.invited_by_id, link.person.pk if link.person else None) if key))
    link = read_link(token)
    if not Invitation.objects.good().filter(pk=invitation.pk).update(accepted_at=Now()):
        raise LinkNotGood(NOT_GOOD)
    return link


def _carries(link: Link) -> bool:
    """Whether what a link gives can still be given by whoever made it."""
    maker, person = link.invitation.invited_by, link.person
    if person is not None and not person.is_active:
        return False
    if maker is None:
        # The first admin's: not once somebody looks after everything.
        return not link.is_for_password and not Person.objects.admins_of_all().exists()
    now = maker.actor(surface="web")
    if link.is_for_password:
        return person is not None and is_covered_by(now, grants_of(person))
    return bool(link.roles) and all(is_admin_of(now, place) for _, place in link.roles)


def _give(person: Person, roles: list[tuple[Role, Place]]) -> None:
    for role, place in roles:
        add_grant(person, role, place)
