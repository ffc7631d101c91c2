"""The list of people and of open invitations, and the page of one person, with what admins change there."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from audit.models import Entry
from audit.trail import lines, with_subjects
from common.forms import first_error
from common.pages import DeskRequest, redirect_with_notice
from people.accounts.discord import accounts_of, unlink_of
from people.accounts.forms import DiscordAccountForm
from people.actors import Actor, Role
from people.directory.deactivation import deactivate, reactivate
from people.directory.forms import GrantForm, RoleForm, SearchForm
from people.directory.listing import (
    PersonRow,
    directory,
    look_up,
    open_invitations,
    open_password_link,
)
from people.errors import LastAdmin, PeopleError
from people.invitations.links import make_password_link, may_handle, renew_invitation, roles_of, withdraw
from people.invitations.views import show_link
from people.models import Invitation
from people.roles.grants import give_role, is_last_admin, take_role
from people.roles.places import ROLES_TO_GIVE, has_admin_beyond, is_covered_by, places_to_give, widest_first
from people.sign_in.reauthentication import reauthenticated

# Entries of the ledger on a person's page.
MAX_LINES = 15


@login_required
@require_safe
def people(request: DeskRequest) -> HttpResponse:
    """List everybody the actor may read of, and the invitations that nobody has used."""
    return _list_page(request)


def _list_page(request: DeskRequest, *, status: int = 200, problem: str = "") -> HttpResponse:
    """Answer with the list, and a sentence where something was refused."""
    actor: Actor = request.actor
    if not actor.looks_after_people:
        raise PermissionDenied
    form = SearchForm(request.GET)
    q = form.cleaned_data["q"] if form.is_valid() else ""
    listed, total = directory(actor, q=q)
    context: dict[str, Any] = {
        "listed": listed,
        "total": total,
        "invitations": open_invitations(actor),
        "may_invite": actor.has(Role.ADMIN),
        "may_set_rules": actor.is_admin_of_all,
        "q": q,
        "problem": problem,
    }
    return render(request, "people/people.html", context, status=status)


@login_required
@require_safe
def person(request: DeskRequest, person_id: int) -> HttpResponse:
    """Show one person: what they may do, how they sign in, and what the actor may change."""
    return _person_page(request, person_id)


def _find(request: DeskRequest, person_id: int) -> PersonRow:
    """Return the person of a URL; 404 for whoever may not read of them."""
    found = look_up(request.actor, person_id) if request.actor.looks_after_people else None
    if found is None:
        raise Http404("There is no such person, or you do not look after them.")
    return found


def _find_to_change(request: DeskRequest, person_id: int) -> PersonRow:
    """Return the person of a URL to whoever is an admin somewhere; the commands check what exactly they may."""
    found = _find(request, person_id)
    if not request.actor.has(Role.ADMIN):
        raise PermissionDenied
    return found


def _person_page(
    request: DeskRequest, person_id: int, *, status: int = 200, problem: str = "", at: str = "", typed: Any = None
) -> HttpResponse:
    """Answer with a person's page; `problem` is shown at the form named `at`."""
    actor: Actor = request.actor
    found = _find(request, person_id)
    grants = widest_first(found.person.grants.all())
    is_self, is_admin = actor.id == str(person_id), actor.has(Role.ADMIN)
    # What the person did lately, as far as the actor may read it.
    did = Entry.objects.readable_by(actor).of_person(person_id).without_steps().since(timedelta(days=30))
    context: dict[str, Any] = {
        "one": found,
        "is_self": is_self,
        "is_covered": is_covered_by(actor, grants),
        "may_change_roles": is_admin and (is_self or not has_admin_beyond(actor, grants)),
        "is_last_admin": is_last_admin(found.person),
        "places": list(places_to_give(actor).values()) if is_admin and not is_self else [],
        "roles": ROLES_TO_GIVE,
        "password_link": open_password_link(actor, found.person),
        "discord": accounts_of(found.person),
        "lines": with_subjects(lines(did.newest_first()[:MAX_LINES])),
        "problem": problem,
        "at": at,
        "typed": typed or {},
    }
    return render(request, "people/person.html", context, status=status)


@login_required
@require_POST
@reauthenticated
def add_role(request: DeskRequest, person_id: int) -> HttpResponse:
    """Give a person a role for a place."""
    listed = _find_to_change(request, person_id)
    form = RoleForm(request.POST, places=places_to_give(request.actor))
    if not form.is_valid():
        problem = first_error(form)[1]
        return _person_page(request, person_id, status=422, problem=problem, at="role", typed=request.POST)
    role, place = form.cleaned_data["role"], form.cleaned_data["place"]
    try:
        is_new = give_role(actor=request.actor, person_id=person_id, role=role, place=place)
    except PeopleError as error:
        return _person_page(request, person_id, status=403, problem=error.sentence, at="role", typed=request.POST)
    return _done(request, person_id, f"{listed.person} is {role} of {place.name} {'now' if is_new else 'already'}.")


@login_required
@require_POST
@reauthenticated
def remove_role(request: DeskRequest, person_id: int) -> HttpResponse:
    """Take a role from a person."""
    listed = _find_to_change(request, person_id)
    form = GrantForm(request.POST)
    if not form.is_valid():
        raise Http404("There is no such role.")
    notice = f"The role is taken. {listed.person} has to sign in again to use what is left."
    return _change(request, person_id, take_role, at="roles", notice=notice, grant_id=form.cleaned_data["grant"])


@login_required
@require_POST
@reauthenticated
def deactivate_person(request: DeskRequest, person_id: int) -> HttpResponse:
    """Keep a person out from now on."""
    listed = _find_to_change(request, person_id)
    notice = f"{listed.person} is deactivated: signed out everywhere, and nothing of theirs leaves any more."
    return _change(request, person_id, deactivate, at="active", notice=notice)


@login_required
@require_POST
@reauthenticated
def reactivate_person(request: DeskRequest, person_id: int) -> HttpResponse:
    """Let a person in again."""
    listed = _find_to_change(request, person_id)
    notice = f"{listed.person} can sign in again, with the roles from before."
    return _change(request, person_id, reactivate, at="active", notice=notice)


@login_required
@require_POST
@reauthenticated
def password_link(request: DeskRequest, person_id: int) -> HttpResponse:
    """Make a link for a new password and show it, this once."""
    listed = _find_to_change(request, person_id)
    try:
        made = make_password_link(actor=request.actor, person_id=person_id)
    except PeopleError as error:
        return _person_page(request, person_id, status=403, problem=error.sentence, at="password")
    return show_link(request, made, person=listed.person)


@login_required
@require_POST
@reauthenticated
def remove_discord(request: DeskRequest, person_id: int) -> HttpResponse:
    """Take a Discord account off a person."""
    _find_to_change(request, person_id)
    form = DiscordAccountForm(request.POST)
    if not form.is_valid():
        raise Http404("There is no such Discord account.")
    account, notice = form.cleaned_data["account"], "The Discord account is taken off."
    return _change(request, person_id, unlink_of, at="discord", notice=notice, account_id=account)


def _change(
    request: DeskRequest, person_id: int, command: Callable[..., Any], *, at: str, notice: str, **more: Any
) -> HttpResponse:
    """Call a command for a person, and answer that it is done, or why not beside the form that asked for it."""
    try:
        command(actor=request.actor, person_id=person_id, **more)
    except PeopleError as error:
        status = 409 if isinstance(error, LastAdmin) else 403
        return _person_page(request, person_id, status=status, problem=error.sentence, at=at)
    return _done(request, person_id, notice)


def _done(request: DeskRequest, person_id: int, notice: str) -> HttpResponse:
    if request.actor.id == str(person_id):
        # Whoever revoked their own role was signed out by it, and has no session for a notice.
        request.session.flush()
        return redirect("account_login")
    # Whoever has no role left that the actor may see has no page for them any more.
    if look_up(request.actor, person_id) is None:
        return redirect_with_notice(request, notice, "people")
    return redirect_with_notice(request, notice, "person", person_id=person_id)


@login_required
@require_POST
@reauthenticated
def renew(request: DeskRequest, invitation_id: int) -> HttpResponse:
    """Make another link in the place of one that nobody used."""
    _find_invitation(request, invitation_id)
    try:
        made = renew_invitation(actor=request.actor, invitation_id=invitation_id)
    except PeopleError as error:
        return _list_page(request, status=403, problem=error.sentence)
    return show_link(request, made, roles=roles_of(made.invitation))


@login_required
@require_POST
@reauthenticated
def withdraw_link(request: DeskRequest, invitation_id: int) -> HttpResponse:
    """Withdraw a link that nobody used."""
    found = _find_invitation(request, invitation_id)
    try:
        withdraw(actor=request.actor, invitation_id=invitation_id)
    except PeopleError as error:
        return _list_page(request, status=403, problem=error.sentence)
    notice = f"The link for {found.email} does not work any more."
    if found.kind == Invitation.Kind.PASSWORD and found.person_id:
        return redirect_with_notice(request, notice, "person", person_id=found.person_id)
    return redirect_with_notice(request, notice, "people")


def _find_invitation(request: DeskRequest, invitation_id: int) -> Invitation:
    found = Invitation.objects.select_related("person").filter(pk=invitation_id).first()
    if found is None or not may_handle(request.actor, found):
        raise Http404("There is no such invitation.")
    return found
