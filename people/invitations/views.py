"""Inviting people: by a link that is shown once and that the admin sends; withdrawing it, and making it anew."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from common.pages import DeskRequest
from people.actors import Actor, Role
from people.directory.forms import MEANS, ROLES, InviteForm
from people.directory.views import list_answer
from people.errors import PeopleError
from people.invitations.links import DAYS, MOST_DAYS, Made, invite, make_anew, may_handle, roles_of, withdraw
from people.models import Invitation
from people.roles.places import places_to_give
from people.sign_in.reauthentication import reauthenticated


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def invite_person(request: DeskRequest) -> HttpResponse:
    """Show the form of an invitation, or make one and show its link, this once."""
    if not request.actor.has(Role.ADMIN):
        raise PermissionDenied
    return _make(request) if request.method == "POST" else _form(request)


@reauthenticated
def _make(request: DeskRequest) -> HttpResponse:
    form = InviteForm(request.POST, places=places_to_give(request.actor))
    if not form.is_valid():
        wrong, sentence = form.first_error()
        return _form(request, status=422, wrong=wrong, problem=sentence)
    cleaned = form.cleaned_data
    try:
        made = invite(
            actor=request.actor,
            email=cleaned["email"],
            name=cleaned["name"],
            roles=form.wanted(),
            lasts=form.lasts(),
        )
    except PeopleError as error:
        return _form(request, status=403, wrong="email", problem=error.sentence)
    return _shown(request, made)


@login_required
@require_POST
@reauthenticated
def invite_anew(request: DeskRequest, invitation_id: int) -> HttpResponse:
    """Make another link in the place of one that nobody used."""
    _find(request, invitation_id)
    try:
        made = make_anew(actor=request.actor, invitation_id=invitation_id)
    except PeopleError as error:
        return list_answer(request, status=403, problem=error.sentence)
    return _shown(request, made)


@login_required
@require_POST
@reauthenticated
def withdraw_invitation(request: DeskRequest, invitation_id: int) -> HttpResponse:
    """Let a link not be used any more."""
    found = _find(request, invitation_id)
    try:
        withdraw(actor=request.actor, invitation_id=invitation_id)
    except PeopleError as error:
        return list_answer(request, status=403, problem=error.sentence)
    messages.info(request, f"The link for {found.email} does not work any more.", extra_tags="desk")
    if found.kind == Invitation.Kind.PASSWORD and found.person_id:
        return redirect("person", person_id=found.person_id)
    return redirect("people")


def _find(request: DeskRequest, invitation_id: int) -> Invitation:
    found = Invitation.objects.select_related("person").filter(pk=invitation_id).first()
    if found is None or not may_handle(request.actor, found):
        raise Http404("There is no such invitation.")
    return found


def _shown(request: DeskRequest, made: Made) -> HttpResponse:
    # Not led on to another page: the link would have to be kept somewhere until then.
    context = {"made": made, "roles": roles_of(made.invitation)}
    return render(request, "people/link_made.html", context)


def _form(request: DeskRequest, *, status: int = 200, wrong: str = "", problem: str = "") -> HttpResponse:
    actor: Actor = request.actor
    typed: Any = request.POST
    context = {
        "places": list(places_to_give(actor).values()),
        "roles": [(value, label, MEANS[Role(value)]) for value, label in ROLES],
        "typed": typed,
        "chosen": typed.getlist("roles"),
        "days": typed.get("days") or DAYS,
        "most_days": MOST_DAYS,
        "wrong": wrong,
        "problem": problem,
    }
    return render(request, "people/invite.html", context, status=status)
