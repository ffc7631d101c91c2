"""The page on which an admin of everything says which roles need a second factor, and sees who lacks one."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from common.pages import DeskRequest
from people.actors import Role
from people.errors import FactorNotAllowed
from people.factor_forms import RoleRuleForm
from people.models import Person, RoleRule
from people.sign_in.factors import may_set_rules, people_by_factor, remove_factors_of, set_role_rule
from people.sign_in.reauthentication import reauthenticated


@login_required
@require_safe
def second_factor(request: DeskRequest) -> HttpResponse:
    """Show the rule of each role, and everybody with what they have."""
    _check(request)
    return _answer(request)


@login_required
@require_POST
def set_rule(request: DeskRequest) -> HttpResponse:
    """Let a role need a second factor, or not."""
    _check(request)
    return _set_rule(request)


@reauthenticated
def _set_rule(request: DeskRequest) -> HttpResponse:
    form = RoleRuleForm(request.POST)
    if not form.is_valid():
        return _answer(request, status=422, problem="Choose a role, and whether it needs a second factor.")
    role, needed = Role(form.cleaned_data["role"]), form.cleaned_data["needed"] == "yes"
    try:
        set_role_rule(actor=request.actor, role=role, needed=needed)
    except FactorNotAllowed as error:
        return _answer(request, status=409, problem=error.sentence)
    said = "needs a second factor from now on" if needed else "needs no second factor any more"
    messages.info(request, f"Every {role} {said}.", extra_tags="desk")
    return redirect("second-factor")


@login_required
@require_POST
def take_off(request: DeskRequest, person_id: int) -> HttpResponse:
    """Take the factors off somebody who lost them, and end their sessions."""
    if not may_set_rules(request.actor):
        # Whether there is such a person is told to nobody else.
        raise Http404("There is no such person, or you do not look after them.")
    return _take_off(request, person_id)


@reauthenticated
def _take_off(request: DeskRequest, person_id: int) -> HttpResponse:
    person = get_object_or_404(Person, pk=person_id)
    try:
        number = remove_factors_of(actor=request.actor, person=person)
    except FactorNotAllowed as error:
        return _answer(request, status=409, problem=error.sentence)
    said = f"{person} signs in by password alone now, and was signed out." if number else f"{person} had none."
    messages.info(request, said, extra_tags="desk")
    return redirect("second-factor")


def _check(request: DeskRequest) -> None:
    if not may_set_rules(request.actor):
        raise PermissionDenied


def _answer(request: DeskRequest, *, problem: str = "", status: int = 200) -> HttpResponse:
    rules: dict[str, Any] = RoleRule.objects.select_related("changed_by").in_bulk()
    people = people_by_factor()
    roles = [
        {
            "name": role.value,
            "rule": rules.get(role.value),
            "lacking": sum(not one.has_factor and role.value in one.roles for one in people),  # type: ignore[attr-defined]
        }
        for role in Role
    ]
    context = {"roles": roles, "people": people, "problem": problem}
    return render(request, "people/second_factor.html", context, status=status)
