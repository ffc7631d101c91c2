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
    total = len(people) if len(people) < MAX_ROWS else found.count()
    return [_row(actor, one) for one in people], total


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
    factors = Authenticator.objects.filter(user=OuterRef("pk"), type__in=KINDS)
    return people.prefetch_related("grants__connection", "grants__mailbox").annotate(
        open_sessions=Count("usersession"),
        has_factor=Exists(factors),
        last_seen=Greatest("last_login", Max("usersession__last_seen_at")),
    )


def _row(actor: Actor, person: Any) -> PersonRow:
    grants = widest_first(person.grants.all())
    roles = []
    for grant in grants:
        target = target_of(grant)
        is_around = target.mailbox is None and any(
            scope.connection == target.connection for scope in actor.scopes
        )
        if (
            target.connection is None
            or is_around
            or any(target.is_within(scope) for scope in actor.scopes)
        ):
            words = role_words(grant.role, target.name)
            roles.append((grant, words, is_admin_of(actor, target)))
    return PersonRow(person, roles, len(grants) - len(roles))
