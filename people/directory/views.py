"""The pages with the list of people and unused invitations, and with one person, and
what admins change there: roles, activation, password link, second factors, chat
account.
"""

from dataclasses import dataclass
from functools import wraps
from typing import Any

from django import forms
from django.contrib.sessions.models import Session
from django.db.models import Count, Max, Q, QuerySet
from django.db.models.functions import Greatest, Now
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from common.actors import Actor, Role, Scope
from common.pages import (
    ChangeView,
    DeskRequest,
    LenientForm,
    View,
    answer,
    only_for,
    redirect_with_notice,
    same_error,
)
from people.accounts.chat_accounts import accounts_of, unlink_of
from people.accounts.views import ChatAccountForm
from people.errors import PeopleError
from people.identities import Identities
from people.invitations.links import (
    make_password_link,
    may_handle,
    may_mail_password,
    roles_of,
    withdraw,
)
from people.invitations.views import is_by_mail, mail_or_show
from people.models import Grant, Invitation, Person
from people.roles import (
    ROLES_TO_GIVE,
    GrantTargetForm,
    all_targets,
    deactivate,
    give_role,
    has_admin_beyond,
    is_admin_of,
    is_covered_by,
    is_last_admin,
    reactivate,
    take_role,
    target_of,
    targets_to_give,
    widest_first,
)
from people.sign_in.factors import HAS_FACTOR, remove_factors_of
from people.sign_in.reauthentication import reauthenticated
from people.sign_in.sessions import LONGEST


class SearchForm(LenientForm):
    """What to search for: a part of a name or an address."""

    q = forms.CharField(required=False, max_length=200)


class RoleForm(GrantTargetForm):
    """A role to grant, for one target."""

    role = forms.TypedChoiceField(
        label="Role",
        choices=ROLES_TO_GIVE,
        coerce=Role,
        widget=forms.RadioSelect,
        error_messages=same_error("Choose a role."),
        help_text="Applies at once. Removing a role signs the person out.",
    )

    field_order = ("role",)


class GrantForm(forms.Form):
    """The grant to revoke."""

    grant = forms.IntegerField(min_value=1, max_value=2**62)


# How many people or invitations the list shows at most.
MAX_ROWS = 200


@dataclass(frozen=True)
class PersonRow:
    """A person in the list, with the roles whose targets the reader may see."""

    person: Person
    # For each role its grant, its description, and whether the reader may revoke it.
    roles: list[tuple[Grant, str, bool]]
    # The number of other roles.
    elsewhere: int
    # The names of the others whom the account counts as.
    counts_as: str


def directory(actor: Actor, q: str) -> tuple[list[PersonRow], int]:
    """Return the first people that the actor may see, by name, and how many there are
    in all.
    """
    matching = Person.objects.read_by(actor)
    if q:
        matching = matching.filter(Q(name__icontains=q) | Q(email__icontains=q))
    people = list(
        _annotated(matching).order_by("-is_active", "name", "email")[:MAX_ROWS]
    )
    total = len(people) if len(people) < MAX_ROWS else matching.count()
    identities = Identities()
    return [_row(actor, one, identities) for one in people], total


def look_up(actor: Actor, person_id: int) -> PersonRow | None:
    """Return one person; None if the actor may not see them."""
    person = _annotated(Person.objects.read_by(actor).filter(pk=person_id)).first()
    return _row(actor, person, Identities()) if person else None


def open_invitations(actor: Actor) -> list[tuple[Invitation, str]]:
    """Return the unused invitations that the actor may handle, each with a description
    of its roles. Auditors of everything see all invitations.
    """
    reads_all = Scope(Role.AUDITOR) in actor.scopes
    unused = list(Invitation.objects.to_list()[:MAX_ROWS])
    targets = all_targets() if unused else {}
    visible = [one for one in unused if reads_all or may_handle(actor, one, targets)]
    return [(one, roles_of(one, targets)) for one in visible]


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
    # Rows of sessions that ended by time stay.
    live = Q(
        usersession__session_key__in=Session.objects.filter(
            expire_date__gt=Now()
        ).values("session_key"),
        usersession__created_at__gt=Now() - LONGEST,
    )
    return people.prefetch_related("grants__connection", "grants__mailbox").annotate(
        open_sessions=Count("usersession", filter=live),
        has_factor=HAS_FACTOR,
        last_seen=Greatest("last_login", Max("usersession__last_seen_at")),
    )


def _row(actor: Actor, person: Any, identities: Identities) -> PersonRow:
    grants = widest_first(person.grants.all())
    roles = []
    for grant in grants:
        target = target_of(grant)
        if target.connection is None or any(
            scope.reaches(connection=target.connection, mailbox=target.mailbox)
            for scope in actor.scopes
        ):
            words = f"{grant.role} of {target.name}"
            roles.append((grant, words, is_admin_of(actor, target)))
    counts_as = identities.others_behind(person.pk)
    return PersonRow(person, roles, len(grants) - len(roles), counts_as)


@require_safe
def people(request: DeskRequest) -> HttpResponse:
    """List the people that the actor may see, and the unused invitations."""
    actor = request.actor
    only_for("an admin or auditor", actor.looks_after_people)
    q = SearchForm(request.GET).value("q") or ""
    listed, total = directory(actor, q)
    context = {
        "listed": listed,
        "total": total,
        "invitations": open_invitations(actor),
        "may_invite": actor.has(Role.ADMIN),
        "may_set_rules": actor.is_admin_of_all,
        "q": q,
    }
    return render(request, "people/people.html", context)


def _find(request: DeskRequest, person_id: int) -> PersonRow:
    """Return the person of a URL as a row. Raises Http404 if the actor may not see
    them.
    """
    actor = request.actor
    row = look_up(actor, person_id) if actor.looks_after_people else None
    if row is None:
        raise Http404("There is no such person, or you do not manage them.")
    return row


def _person_page(
    request: DeskRequest,
    person_id: int,
    *,
    error: PeopleError | None = None,
    role_form: RoleForm | None = None,
) -> HttpResponse:
    """Show one person: their roles, how they sign in, and what the actor may change."""
    actor = request.actor
    row = _find(request, person_id)
    grants = widest_first(row.person.grants.all())
    is_self = actor.id == str(person_id)
    is_admin = actor.has(Role.ADMIN)
    context = {
        "one": row,
        "is_self": is_self,
        "is_covered": is_covered_by(actor, grants),
        "may_change_roles": is_admin
        and (is_self or not has_admin_beyond(actor, grants)),
        "may_add_role": is_admin and not is_self,
        "is_last_admin": is_last_admin(row.person),
        "role_form": role_form or RoleForm(targets=targets_to_give(actor)),
        "may_remove_factors": actor.is_admin_of_all and not is_self,
        "password_link": open_password_link(actor, row.person),
        "may_mail": may_mail_password(row.person),
        "chat_accounts": accounts_of(row.person),
    }
    return answer(request, "people/person.html", context, error, form=role_form)


person = require_safe(_person_page)


def _changes(view: ChangeView) -> View:
    """Decorate a view that changes the person in its URL, and that returns the notice
    to show or a response. It takes a POST, and a recent reauthentication.

    The view runs for every admin who may see the person: the command checks what they
    may do, and the page shows its error.
    """

    @wraps(view)
    def changed(request: DeskRequest, person_id: int) -> HttpResponse:
        person = _find(request, person_id).person
        only_for("an admin", request.actor.has(Role.ADMIN))
        try:
            answered = view(request, person)
        except PeopleError as error:
            return _person_page(request, person_id, error=error)
        if isinstance(answered, HttpResponse):
            return answered
        if request.actor.id == str(person_id):
            # Revoking one's own role signs out, so there is no session for a notice.
            request.session.flush()
            return redirect("account_login")
        # The actor may have revoked the person's last role that they can see, and then
        # cannot see the person's page any more.
        if look_up(request.actor, person_id) is None:
            return redirect_with_notice(request, answered, "people")
        return redirect_with_notice(request, answered, "person", person_id=person_id)

    return require_POST(reauthenticated(changed))


@_changes
def add_role(request: DeskRequest, person: Person) -> HttpResponse | str:
    """Grant a person a role for everything, a connection or a mailbox."""
    form = RoleForm(request.POST, targets=targets_to_give(request.actor))
    if not form.is_valid():
        return _person_page(request, person.pk, role_form=form)
    role = form.cleaned_data["role"]
    target = form.cleaned_data["place"]
    is_new = give_role(
        actor=request.actor, person_id=person.pk, role=role, target=target
    )
    return f"{person} is {role} of {target.name} {'now' if is_new else 'already'}."


@_changes
def remove_role(request: DeskRequest, person: Person) -> str:
    form = GrantForm(request.POST)
    if not form.is_valid():
        raise Http404("There is no such role.")
    take_role(
        actor=request.actor, person_id=person.pk, grant_id=form.cleaned_data["grant"]
    )
    return (
        f"The role was removed. {person} must sign in again to use their other roles."
    )


@_changes
def deactivate_person(request: DeskRequest, person: Person) -> str:
    deactivate(actor=request.actor, person_id=person.pk)
    return f"{person} is deactivated and signed out everywhere. Their pending decisions will not be carried out."


@_changes
def reactivate_person(request: DeskRequest, person: Person) -> str:
    reactivate(actor=request.actor, person_id=person.pk)
    return f"{person} can sign in again, with the roles from before."


@_changes
def password_link(request: DeskRequest, person: Person) -> HttpResponse:
    """Make a link for a new password, and mail it or show it once."""
    by_mail = is_by_mail(request) and may_mail_password(person)
    link = make_password_link(actor=request.actor, person_id=person.pk, by_mail=by_mail)
    back = reverse("person", args=[person.pk])
    return mail_or_show(request, link, by_mail=by_mail, back=back, person=person)


@_changes
def remove_factors(request: DeskRequest, person: Person) -> str:
    """Remove the factors of a person who lost them, and end their sessions."""
    remove_factors_of(actor=request.actor, person=person)
    return f"{person} signs in by password alone now, and was signed out."


@_changes
def remove_chat_account(request: DeskRequest, person: Person) -> str:
    form = ChatAccountForm(request.POST)
    if not form.is_valid() or not unlink_of(
        actor=request.actor,
        person_id=person.pk,
        account_id=form.cleaned_data["account"],
    ):
        raise Http404("There is no such linked account.")
    return "The account is unlinked."


@require_POST
@reauthenticated
def withdraw_link(request: DeskRequest, invitation_id: int) -> HttpResponse:
    """Withdraw an unused link, to join or to set a password."""
    try:
        invitation = withdraw(actor=request.actor, invitation_id=invitation_id)
    except PeopleError:
        raise Http404("There is no such invitation.") from None
    notice = f"The link for {invitation.email} no longer works."
    if invitation.kind == Invitation.Kind.PASSWORD and invitation.person_id:
        return redirect_with_notice(
            request, notice, "person", person_id=invitation.person_id
        )
    return redirect_with_notice(request, notice, "people")
