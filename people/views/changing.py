"""Changing what a person may do: roles, letting in and keeping out, a link for a new password, Discord accounts."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from common.pages import DeskRequest
from people.accounts.discord import unlink_of
from people.directory.deactivation import deactivate, reactivate
from people.directory.forms import AccountForm, GrantForm, RoleForm
from people.directory.listing import look_up
from people.directory.views import find_to_change, person_answer
from people.errors import LastAdmin, NotYours, PeopleError
from people.invitations.links import make_password_link
from people.roles.grants import give_role, take_role
from people.roles.places import places_to_give
from people.sign_in.reauthentication import reauthenticated


@login_required
@require_POST
@reauthenticated
def add_role(request: DeskRequest, person_id: int) -> HttpResponse:
    """Give a person a role for a place."""
    listed = find_to_change(request, person_id)
    form = RoleForm(request.POST, places=places_to_give(request.actor))
    if not form.is_valid():
        _, sentence = form.first_error()
        return person_answer(request, person_id, status=422, problem=sentence, at="role", typed=request.POST)
    role, place = form.cleaned_data["role"], form.cleaned_data["place"]
    try:
        is_new = give_role(actor=request.actor, person_id=person_id, role=role, place=place)
    except PeopleError as error:
        return person_answer(request, person_id, status=403, problem=error.sentence, at="role", typed=request.POST)
    said = f"{listed.person} is {role.value} of {place.name}{' now' if is_new else ' already'}."
    return _done(request, person_id, said)


@login_required
@require_POST
@reauthenticated
def remove_role(request: DeskRequest, person_id: int) -> HttpResponse:
    """Take a role from a person."""
    listed = find_to_change(request, person_id)
    form = GrantForm(request.POST)
    if not form.is_valid():
        raise Http404("There is no such role.")
    grant_id = form.cleaned_data["grant"]
    return _try(
        request,
        person_id,
        lambda: take_role(actor=request.actor, person_id=person_id, grant_id=grant_id),
        at="roles",
        said=f"The role is taken. {listed.person} signs in anew to go on with what is left.",
    )


@login_required
@require_POST
@reauthenticated
def deactivate_person(request: DeskRequest, person_id: int) -> HttpResponse:
    """Keep a person out from now on."""
    listed = find_to_change(request, person_id)
    said = f"{listed.person} is deactivated: signed out everywhere, and nothing of theirs leaves any more."
    return _try(
        request, person_id, lambda: deactivate(actor=request.actor, person_id=person_id), at="active", said=said
    )


@login_required
@require_POST
@reauthenticated
def reactivate_person(request: DeskRequest, person_id: int) -> HttpResponse:
    """Let a person in again."""
    listed = find_to_change(request, person_id)
    said = f"{listed.person} can sign in again, with the roles from before."
    return _try(
        request, person_id, lambda: reactivate(actor=request.actor, person_id=person_id), at="active", said=said
    )


@login_required
@require_POST
@reauthenticated
def password_link(request: DeskRequest, person_id: int) -> HttpResponse:
    """Make a link for a new password and show it, this once."""
    listed = find_to_change(request, person_id)
    try:
        made = make_password_link(actor=request.actor, person_id=person_id)
    except PeopleError as error:
        return person_answer(request, person_id, status=403, problem=error.sentence, at="password")
    # Not led on to another page: the link would have to be kept somewhere until then.
    return render(request, "people/link_made.html", {"made": made, "person": listed.person})


@login_required
@require_POST
@reauthenticated
def remove_discord(request: DeskRequest, person_id: int) -> HttpResponse:
    """Take a Discord account off a person."""
    find_to_change(request, person_id)
    form = AccountForm(request.POST)
    if not form.is_valid():
        raise Http404("There is no such Discord account.")
    account = form.cleaned_data["account"]
    return _try(
        request,
        person_id,
        lambda: unlink_of(actor=request.actor, person_id=person_id, account_id=account),
        at="discord",
        said="The Discord account is taken off.",
    )


def _try(request: DeskRequest, person_id: int, act: Callable[[], Any], *, at: str, said: str) -> HttpResponse:
    """Do something to a person, and say that it is done, or why not at the place where it was asked."""
    try:
        act()
    except LastAdmin as error:
        return person_answer(request, person_id, status=409, problem=error.sentence, at=at)
    except NotYours as error:
        return person_answer(request, person_id, status=403, problem=error.sentence, at=at)
    return _done(request, person_id, said)


def _done(request: DeskRequest, person_id: int, said: str) -> HttpResponse:
    if request.actor.id == str(person_id):
        # Whoever took their own role was signed out by it, and has no session to be told in.
        request.session.flush()
        return redirect("account_login")
    messages.info(request, said, extra_tags="desk")
    # Whoever has no role left that the actor looks after is none of theirs any more.
    is_there = look_up(request.actor, person_id) is not None
    return redirect("person", person_id=person_id) if is_there else redirect("people")
