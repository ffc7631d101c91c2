"""The page on which an admin of everything sets which roles need a second factor, and
sees who lacks one.
"""

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_POST, require_safe

from common.actors import ROLE_CHOICES, Role
from common.pages import DeskRequest, redirect_with_notice
from people.errors import FactorNotAllowed
from people.models import PendingChange, Person, RoleRule
from people.sign_in.factors import people_by_factor, remove_factors_of, set_role_rule
from people.sign_in.reauthentication import ask_first, is_recently_authenticated


class RoleRuleForm(forms.Form):
    """Whether a role needs a second factor."""

    role = forms.ChoiceField(choices=ROLE_CHOICES)
    needed = forms.ChoiceField(choices=[("yes", "yes"), ("no", "no")])


@require_safe
def second_factor(request: DeskRequest) -> HttpResponse:
    """Show the rule of each role, and who has a second factor."""
    if not request.actor.is_admin_of_all:
        raise PermissionDenied
    return _rules_page(request)


@require_POST
def set_rule(request: DeskRequest) -> HttpResponse:
    """Set whether a role needs a second factor."""
    if not request.actor.is_admin_of_all:
        raise PermissionDenied
    if not is_recently_authenticated(request):
        return ask_first(request)
    form = RoleRuleForm(request.POST)
    if not form.is_valid():
        return _rules_page(
            request,
            status=422,
            error="Choose a role, and whether it needs a second factor.",
        )
    role = Role(form.cleaned_data["role"])
    needed = form.cleaned_data["needed"] == "yes"
    try:
        set_role_rule(actor=request.actor, role=role, needed=needed)
    except FactorNotAllowed as error:
        return _rules_page(request, status=409, error=error.sentence)
    notice = f"Every {role} no longer needs a second factor."
    if needed:
        notice = f"Every {role} needs a second factor from now on."
    return redirect_with_notice(request, notice, "second-factor")


@require_POST
def remove_factors(request: DeskRequest, person_id: int) -> HttpResponse:
    """Remove the factors of a person who lost them, and end their sessions."""
    if not request.actor.is_admin_of_all:
        # Do not reveal to anybody else whether this person exists.
        raise Http404("There is no such person, or you do not manage them.")
    if not is_recently_authenticated(request):
        return ask_first(request)
    person = get_object_or_404(Person, pk=person_id)
    try:
        number = remove_factors_of(actor=request.actor, person=person)
    except FactorNotAllowed as error:
        return _rules_page(request, status=409, error=error.sentence)
    notice = f"{person} had none."
    if number:
        notice = f"{person} signs in by password alone now, and was signed out."
    return redirect_with_notice(request, notice, "second-factor")


def _rules_page(
    request: DeskRequest, *, error: str = "", status: int = 200
) -> HttpResponse:
    rules: dict[str, Any] = RoleRule.objects.select_related("changed_by").in_bulk()
    people = people_by_factor()
    lacking = [
        role
        for one in people
        if not one.has_factor  # type: ignore[attr-defined]
        for role in one.roles  # type: ignore[attr-defined]
    ]
    context = {
        "roles": [
            {"name": role, "rule": rules.get(role), "lacking": lacking.count(role)}
            for role in Role
        ],
        "people": people,
        "error": error,
        "waiting_changes": PendingChange.objects.at("second-factor"),
    }
    return render(request, "people/second_factor.html", context, status=status)
