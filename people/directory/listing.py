"""The rows of the list of people and of open invitations, within somebody's visible
scope. It only reads.
"""

from dataclasses import dataclass
from typing import Any

from allauth.mfa.models import Authenticator
from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet
from django.db.models.functions import Greatest

from common.actors import Actor, Role, Scope
from people.invitations.links import may_handle, roles_of
from people.models import Grant, Invitation, Person
from people.roles.targets import (
    all_targets,
    is_admin_of,
    role_words,
    target_of,
    widest_first,
)
from people.sign_in.factors import KINDS

MAX_ROWS = 200


@dataclass(frozen=True)
class PersonRow:
    """A person in the list: the roles whose targets the reader may see, and the number
    of other roles.

    Each role is its grant, what it is in words, and whether the reader may revoke it.
    """

    person: Person
    roles: list[tuple[Grant, str, bool]]
    elsewhere: int


def directory(actor: Actor, *, q: str = "") -> tuple[list[PersonRow], int]:
    """Return the first people that the actor may see, by name, and how many there are
    in all.
    """
    found = Person.objects.read_by(actor)
    if q:
        found = found.filter(Q(name__icontains=q) | Q(email__icontains=q))
    people = list(_annotated(found).order_by("-is_active", "name", "email")[:MAX_ROWS])
    return [_row(actor, one) for one in people], len(people) if len(
        people
    ) < MAX_ROWS else found.count()


def look_up(actor: Actor, person_id: int) -> PersonRow | None:
    """Return one person that the actor may see."""
    person = _annotated(Person.objects.read_by(actor).filter(pk=person_id)).first()
    return _row(actor, person) if person else None


def open_invitations(actor: Actor) -> list[tuple[Invitation, str]]:
    """Return the unused invitations that the actor may handle, each with what it
    grants.

    Auditors of everything see all of them.
    """
    reads_all = Scope(Role.AUDITOR) in actor.scopes
    found = list(Invitation.objects.to_list()[:MAX_ROWS])
    targets = all_targets() if found else {}
    seen = [one for one in found if reads_all or may_handle(actor, one, targets)]
    return [(one, roles_of(one, targets)) for one in seen]


def open_password_link(actor: Actor, person: Person) -> Invitation | None:
    """Return a person's valid link for a new password, if the actor may withdraw it."""
    link = (
        Invitation.objects.good()
        .passwords_of(person)
        .select_related("invited_by", "person")
        .first()
    )
    return link if link and may_handle(actor, link) else None


def _annotated(people: QuerySet[Person]) -> QuerySet[Person]:
    has_factor = Exists(
        Authenticator.objects.filter(user=OuterRef("pk"), type__in=KINDS)
    )
    return (
        people.prefetch_related("grants__connection", "grants__mailbox")
        .annotate(
            seen=Max("usersession__last_seen_at"),
            open_sessions=Count("usersession"),
            has_factor=has_factor,
        )
        .annotate(last_seen=Greatest("last_login", "seen"))
    )


def _row(actor: Actor, person: Any) -> PersonRow:
    grants = widest_first(person.grants.all())
    shown = [one for one in grants if _is_named_to(actor, one)]
    roles = [
        (
            one,
            role_words(one.role, target_of(one).name),
            is_admin_of(actor, target_of(one)),
        )
        for one in shown
    ]
    return PersonRow(person, roles, len(grants) - len(shown))


def _is_named_to(actor: Actor, grant: Grant) -> bool:
    """Whether the actor may see the name of a role's target."""
    target = target_of(grant)
    if target.connection is None:
        return True
    scopes = actor.scopes
    return any(target.is_within(one) for one in scopes) or (
        target.mailbox is None
        and any(one.connection == target.connection for one in scopes)
    )
