"""Who belongs to the desk: the list with open invitations, and the page of one person."""

from datetime import timedelta
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from audit.models import Entry
from audit.trail import Line, lines, with_subjects
from common.pages import DeskRequest
from people.accounts.discord import accounts_of
from people.actors import Actor, Role
from people.directory.forms import MEANS, ROLES, SearchForm
from people.directory.listing import Listed, covers, directory, look_up, open_invitations, open_password_link
from people.roles.places import grants_of, has_admin_beyond, places_to_give
from people.sign_in.factors import may_set_rules
from people.standing import is_last_admin

MOST_LINES = 15
NO_SUCH = "There is no such person, or you do not look after them."


@login_required
@require_safe
def people(request: DeskRequest) -> HttpResponse:
    """List everybody the actor may read of, and the invitations that nobody has used."""
    return list_answer(request)


def list_answer(request: DeskRequest, *, status: int = 200, problem: str = "") -> HttpResponse:
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
        "may_set_rules": may_set_rules(actor),
        "q": q,
        "problem": problem,
    }
    return render(request, "people/people.html", context, status=status)


@login_required
@require_safe
def person(request: DeskRequest, person_id: int) -> HttpResponse:
    """Show one person: what they may do, how they sign in, and what the actor may change."""
    return person_answer(request, person_id)


def find(request: DeskRequest, person_id: int) -> Listed:
    """Return the person of an address; for whoever may not read of them, there is none."""
    found = look_up(request.actor, person_id) if request.actor.looks_after_people else None
    if found is None:
        raise Http404(NO_SUCH)
    return found


def find_to_change(request: DeskRequest, person_id: int) -> Listed:
    """Return the person of an address to whoever is an admin somewhere; what exactly they may, the commands say."""
    found = find(request, person_id)
    if not request.actor.has(Role.ADMIN):
        raise PermissionDenied
    return found


def person_answer(
    request: DeskRequest, person_id: int, *, status: int = 200, problem: str = "", at: str = "", typed: Any = None
) -> HttpResponse:
    """Answer with a person's page; `problem` stands at the form that it is of."""
    actor: Actor = request.actor
    found = find(request, person_id)
    grants = grants_of(found.person)
    is_self = actor.id == str(found.person.pk)
    is_covered = covers(actor, found)
    context: dict[str, Any] = {
        "one": found,
        "is_self": is_self,
        "is_covered": is_covered,
        "may_change_roles": actor.has(Role.ADMIN) and (is_self or not has_admin_beyond(actor, grants)),
        "is_last_admin": is_last_admin(found.person),
        "places": list(places_to_give(actor).values()) if actor.has(Role.ADMIN) and not is_self else [],
        "roles": [(value, label, MEANS[Role(value)]) for value, label in ROLES],
        "password_link": open_password_link(actor, found.person),
        "discord": accounts_of(found.person),
        "lines": _did(actor, found.person.pk),
        "problem": problem,
        "at": at,
        "typed": typed or {},
    }
    return render(request, "people/person.html", context, status=status)


def _did(actor: Actor, person: int) -> list[Line]:
    """Return what a person did lately, as far as the actor may read it."""
    entries = Entry.objects.readable_by(actor).of_person(person).without_steps().since(timedelta(days=30))
    return with_subjects(lines(entries.newest_first()[:MOST_LINES]))
