"""Roles: the commands that grant and revoke them and deactivate people, and what a role
can be granted for.

People are locked, so that changes run one after another and each is checked against the
roles of that moment. A person who loses a role has to sign in again, and the last admin
of everything cannot be removed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from allauth.socialaccount.models import SocialAccount
from django import forms
from django.urls import reverse

from audit.recording import record
from common.actors import Actor, Role
from common.pages import DrawnForm, NotedChoice, same_error
from common.postgres import atomic_with_retry
from mirror.models import Connection, Mailbox
from people.errors import LastAdmin, NotYours
from people.models import Grant, Invitation, Person
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from people.sign_in.sessions import access_changed, end_sessions

# The roles with what they are for, to choose from in a form.
ROLES_TO_GIVE = [
    (Role.REVIEWER, NotedChoice("Reviewer", "Reads and decides waiting messages")),
    (
        Role.ADMIN,
        NotedChoice("Admin", "Sets up connections, mailboxes, allowlists and people"),
    ),
    (Role.AUDITOR, NotedChoice("Auditor", "Reads everything and decides nothing")),
]


@dataclass(frozen=True)
class GrantTarget:
    """What a role is granted for: everything, one connection, or one mailbox with its
    connection.
    """

    connection: int | None = None
    mailbox: int | None = None
    name: str = "everything"

    @property
    def value(self) -> str:
        """The target's value in a form."""
        if self.mailbox is not None:
            return f"mailbox-{self.mailbox}"
        return "all" if self.connection is None else f"connection-{self.connection}"

    @property
    def label(self) -> str:
        """The target's label in a form."""
        kind = "Mailbox" if self.mailbox is not None else "Connection"
        return "Everything" if self.connection is None else f"{kind} {self.name}"

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a row for it. For a mailbox it must not store the connection: it
        would be for the whole connection.
        """
        return {
            "connection_id": None if self.mailbox else self.connection,
            "mailbox_id": self.mailbox,
        }


def target_of(grant: Grant) -> GrantTarget:
    """Return what a role is granted for. Select the grant's connection and mailbox with
    select_related, or they are queried here.
    """
    mailbox = grant.mailbox
    if mailbox is not None:
        return GrantTarget(mailbox.connection_id, mailbox.pk, str(mailbox))
    if grant.connection is not None:
        return GrantTarget(grant.connection_id, name=str(grant.connection))
    return GrantTarget()


def all_targets() -> dict[str, GrantTarget]:
    """Return all that roles can be granted for, by its value in a form, in two queries.
    Removed connections are left out.
    """
    live = Connection.objects.filter(removed_at=None).order_by("name", "pk")
    mailboxes = Mailbox.objects.filter(connection__in=live).order_by("address", "pk")
    targets = [
        GrantTarget(),
        *(GrantTarget(one.pk, name=str(one)) for one in live),
        *(GrantTarget(one.connection_id, one.pk, str(one)) for one in mailboxes),
    ]
    return {target.value: target for target in targets}


def is_admin_of(actor: Actor, target: GrantTarget) -> bool:
    """Whether the actor is an admin of the whole target."""
    return actor.is_a(Role.ADMIN, connection=target.connection, mailbox=target.mailbox)


def targets_to_give(actor: Actor) -> dict[str, GrantTarget]:
    """Return the targets for which the actor may grant and revoke roles."""
    return {
        value: target
        for value, target in all_targets().items()
        if is_admin_of(actor, target)
    }


def common_target(targets: Iterable[GrantTarget]) -> GrantTarget:
    """Return the narrowest target that includes all of these; everything if there are
    none.
    """
    distinct = set(targets)
    if len(distinct) == 1:
        return distinct.pop()
    connections = {one.connection for one in distinct}
    return GrantTarget(connections.pop() if len(connections) == 1 else None)


def widest_first(grants: Iterable[Grant]) -> list[Grant]:
    """Sort grants as pages show them: for everything, for connections, for
    mailboxes.
    """
    return sorted(
        grants, key=lambda one: (one.mailbox_id or 0, one.connection_id or 0, one.role)
    )


def grants_of(person: Person) -> list[Grant]:
    """Return a person's grants with their targets, the widest first."""
    return widest_first(person.grants.select_related("connection", "mailbox"))


def is_covered_by(actor: Actor, grants: Iterable[Grant]) -> bool:
    """Whether the actor is an admin of every target of these grants; if there are none,
    whether the actor is an admin of everything.
    """
    targets = [target_of(grant) for grant in grants] or [GrantTarget()]
    return all(is_admin_of(actor, target) for target in targets)


def has_admin_beyond(actor: Actor, grants: Iterable[Grant]) -> bool:
    """Whether one of these grants makes somebody an admin of a target that the actor is
    not an admin of.
    """
    return any(
        grant.role == Role.ADMIN and not is_admin_of(actor, target_of(grant))
        for grant in grants
    )


def in_words(grants: Iterable[Grant]) -> str:
    """Describe grants in one line, for the ledger and for pages."""
    words = [f"{one.role} of {target_of(one).name}" for one in grants]
    return ", ".join(words) or "no role"


class GrantTargetForm(DrawnForm):
    """A form whose field `place` is one of the targets for which the actor may grant
    roles.
    """

    place = forms.TypedChoiceField(
        label="For", error_messages=same_error("Choose a scope that you manage.")
    )

    def __init__(
        self, *args: Any, targets: Mapping[str, GrantTarget], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        place: Any = self.fields["place"]
        place.choices = [(value, target.label) for value, target in targets.items()]
        place.coerce = targets.get


@atomic_with_retry
@second_admin("Role")
def give_role(
    *, actor: Actor, person_id: int, role: Role, target: GrantTarget
) -> CanWait[bool]:
    """Grant a person a role for a target that the actor is an admin of; return False if
    they have it already.

    People cannot grant themselves a role. Raises NotYours.
    """
    current, person = lock_for(actor, person_id)
    if is_self(current, person):
        raise NotYours("You cannot give yourself a role. Ask another admin.")
    _check_admin_of(current, target)
    _check_not_above(current, person)
    if target.value not in all_targets():
        raise NotYours("The connection or mailbox of this role is no longer there.")
    before = in_words(grants_of(person))
    new = f"{role} of {target.name}"
    yield lambda: ChangeInWords(
        title=f"{person} ({person.email}): give the role {new}",
        before=before,
        after=new if before == in_words([]) else f"{before}, {new}",
        page=reverse("person", args=[person_id]),
        connection=target.connection,
        mailbox=target.mailbox,
        subjects=[person_id],
        tightens=person.grants.filter(role=role, **target.fields).exists(),
    )
    is_new = add_grant(person, role, target)
    if is_new:
        _record_grants(current, person, before)
        access_changed.send(sender=Person, person=person.pk)
    return is_new


@atomic_with_retry
def take_role(*, actor: Actor, person_id: int, grant_id: int) -> bool:
    """Revoke a role and end the person's sessions; return False if they no longer had
    it.
    """
    current, person = lock_for(actor, person_id)
    grant = (
        person.grants.select_related("connection", "mailbox")
        .filter(pk=grant_id)
        .first()
    )
    if grant is None:
        return False
    target = target_of(grant)
    _check_admin_of(current, target)
    if not is_self(current, person):
        _check_not_above(current, person)
    if grant.role == Role.ADMIN and target.connection is None:
        check_admin_left(without=person)
    before = in_words(grants_of(person))
    grant.delete()
    # An open invitation to this role would give it back.
    same = {
        "role": grant.role,
        "connection": target.connection,
        "mailbox": target.mailbox,
    }
    Invitation.objects.filter(email=person.email, grants__contains=[same]).withdraw()
    end_sessions(person)
    _record_grants(current, person, before)
    return True


def add_grant(person: Person, role: Role, target: GrantTarget) -> bool:
    """Store a grant in the caller's transaction; return False if it exists already."""
    _, is_new = Grant.objects.get_or_create(person=person, role=role, **target.fields)
    return is_new


def is_self(actor: Actor, person: Person) -> bool:
    return actor.kind == "person" and actor.id == str(person.pk)


def key_of(actor: Actor) -> int | None:
    """Return the key of the person who acts; None if the actor is not a person."""
    return actor.person_id if actor.kind == "person" else None


def lock_people(*keys: int | None) -> None:
    """Lock these people and all admins of everything, in the order of their keys, for
    the rest of the transaction.

    So of two simultaneous changes of admins, the second waits and sees the result of
    the first. The lock is FOR NO KEY UPDATE: others may still store rows that refer to
    these people.
    """
    all_keys = set(Person.objects.admins_of_all().values_list("pk", flat=True))
    all_keys |= {key for key in keys if key is not None}
    people = Person.objects.filter(pk__in=all_keys).order_by("pk")
    list(
        people.select_for_update(of=("self",), no_key=True).values_list("pk", flat=True)
    )


def lock_actor(actor: Actor, *also: int) -> Actor:
    """Lock the actor and these other people, and return the actor with their current
    roles.
    """
    key = key_of(actor)
    lock_people(*also, key)
    if key is None:
        return actor
    person = Person.objects.filter(pk=key).first()
    if person is None:
        raise NotYours("Your own roles have changed. Reload the page.")
    current = person.actor(surface=actor.surface, address=actor.address)
    return replace(current, proof=actor.proof, second=actor.second)


def lock_for(actor: Actor, person_id: int) -> tuple[Actor, Person]:
    """Lock the actor and a person whom they may see; return the actor with their
    current roles, and the person. Raises NotYours.
    """
    current = lock_actor(actor, person_id)
    person = Person.objects.read_by(current).filter(pk=person_id).first()
    if person:
        return current, person
    raise NotYours("There is no such person, or you do not manage them.")


def check_covers(actor: Actor, person: Person) -> None:
    """Raise NotYours unless the actor is an admin of every target of the person's
    roles.
    """
    if not is_covered_by(actor, grants_of(person)):
        raise NotYours(
            f"{person} has roles that you do not manage. An admin of all of them can do this."
        )


def check_admin_left(without: Person) -> None:
    """Raise LastAdmin if nobody else is an admin of everything. The caller has locked
    the admins.
    """
    if is_last_admin(without):
        raise LastAdmin(
            f"{without} is the last admin of everything. Make somebody else an admin first."
        )


def is_last_admin(person: Person) -> bool:
    """Whether a person is an admin of everything and nobody else is."""
    return list(Person.objects.admins_of_all().values_list("pk", flat=True)[:2]) == [
        person.pk
    ]


def _check_admin_of(actor: Actor, target: GrantTarget) -> None:
    if not is_admin_of(actor, target):
        raise NotYours(f"Only an admin of {target.name} can give or take roles there.")


def _check_not_above(actor: Actor, person: Person) -> None:
    if has_admin_beyond(actor, grants_of(person)):
        raise NotYours(
            f"{person} manages more than you do. An admin of everything can change their roles."
        )


def record_about(action: str, actor: Actor, person: Person, **details: str) -> None:
    """Record an act about a person, with their name and address and these details."""
    details = {"person": str(person), "email": person.email, **details}
    record(action, actor, details=details, about=person)


def _record_grants(actor: Actor, person: Person, before: str) -> None:
    after = in_words(grants_of(person))
    record_about("person.grants_changed", actor, person, before=before, after=after)


@atomic_with_retry
def deactivate(*, actor: Actor, person_id: int) -> None:
    """Deactivate a person: end their sessions, release their claims, and withdraw their
    open links.

    Their decisions that are not executed yet are refused when they are due: the policy
    is checked again then.
    """
    current, person = lock_for(actor, person_id)
    if is_self(current, person):
        raise NotYours("You cannot deactivate yourself. Ask another admin.")
    check_covers(current, person)
    if not person.is_active:
        return
    check_admin_left(without=person)
    person.is_active = False
    # A receiver of post_save releases their claims.
    person.save(update_fields=["is_active"])
    end_sessions(person)
    Invitation.objects.filter(email=person.email).withdraw()
    Invitation.objects.filter(invited_by=person).withdraw()
    _record("person.deactivated", current, person, before="active", after="deactivated")


@atomic_with_retry
@second_admin("Reactivation")
def reactivate(*, actor: Actor, person_id: int) -> CanWait[None]:
    """Reactivate a person, with their old password, second factor and roles.

    Their account at the sign-in provider is unlinked: they may have a new one there,
    which is found by its verified address.
    """
    current, person = lock_for(actor, person_id)
    check_covers(current, person)
    grants = grants_of(person)
    roles = in_words(grants)
    target = common_target(target_of(grant) for grant in grants)
    yield lambda: ChangeInWords(
        title=f"{person} ({person.email}): reactivate",
        before="deactivated",
        after=f"active, {roles}",
        page=reverse("person", args=[person_id]),
        connection=target.connection,
        mailbox=target.mailbox,
        subjects=[person_id],
        based_on=roles,
        # It tightens, or changes nothing: nobody gets a role by it.
        tightens=person.is_active or not grants,
    )
    if person.is_active:
        return
    person.is_active = True
    person.save(update_fields=["is_active"])
    SocialAccount.objects.filter(user=person).delete()
    _record("person.reactivated", current, person, before="deactivated", after="active")


def _record(
    action: str, actor: Actor, person: Person, *, before: str, after: str
) -> None:
    roles = in_words(grants_of(person))
    record_about(action, actor, person, roles=roles, before=before, after=after)
