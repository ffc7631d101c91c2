"""The pages of groups: people whose approval a rule can ask for, or who may not give it."""

from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from approvals.policy_rules.fields import checks_of
from approvals.policy_rules.views import admin_or_403, visible_rules
from common.forms import SentenceForm
from common.pages import DeskRequest, redirect_with_notice
from people.models import PendingChange, Person
from people.sign_in.reauthentication import ask_first, is_recently_authenticated
from policy.errors import PolicyRefused, StalePolicy
from policy.models import Group
from policy.rules.changes import policies
from policy.rules.groups import (
    MAX_NAME,
    add_group,
    change_group,
    delete_group,
    rules_naming,
    seen_state,
)


class GroupForm(SentenceForm):
    """A group's name and its members."""

    name = forms.CharField(
        max_length=MAX_NAME,
        error_messages={
            "required": "Give the group a name.",
            "max_length": f"Keep the name under {MAX_NAME} characters.",
        },
    )
    members = forms.MultipleChoiceField(
        required=False, error_messages=dict.fromkeys(("invalid_choice", "invalid_list"), "Choose from the list.")
    )
    seen = forms.CharField(required=False, max_length=16)

    def __init__(self, data: Any, *, people: dict[str, str]) -> None:
        super().__init__(data)
        self.fields["members"].choices = list(people.items())  # type: ignore[attr-defined]

    def clean_name(self) -> str:
        return " ".join(str(self.cleaned_data["name"]).split())

    def keys(self) -> list[int]:
        """Return the keys of the members."""
        return [int(one) for one in self.cleaned_data["members"]]


def _people(group: Group | None) -> dict[str, str]:
    """Return whom a group can have as members; those who left and still are members too."""
    active = Person.objects.filter(is_active=True).order_by("name", "email")
    found = {str(one.pk): str(one) for one in active}
    left = group.members.filter(is_active=False) if group else []
    return found | {str(one.pk): f"{one} (left)" for one in left}


@login_required
@require_safe
def groups(request: DeskRequest) -> HttpResponse:
    """List the groups with their members and the rules that name them."""
    return answer_groups(request)


def answer_groups(request: DeskRequest, *, error: str = "", status: int = 200) -> HttpResponse:
    """Show the list of groups, with what was wrong where something was."""
    now = policies()
    rules = visible_rules(request.actor, (*now.active_rules, *now.draft_rules))
    found = Group.objects.prefetch_related("members").order_by("name") if request.actor.scopes else ()
    context = {
        "groups": [
            (one, one.members.all(), dict.fromkeys(rule.name for rule in rules_naming(one.pk, rules))) for one in found
        ],
        "may_change": request.actor.is_admin_of_all,
        "error": error,
    }
    return render(request, "policy/rules/groups.html", context, status=status)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: DeskRequest) -> HttpResponse:
    """Show the form of a new group; make it."""
    actor = admin_or_403(request)
    people = _people(None)
    if request.method != "POST":
        return _page(request, None, people)
    form = GroupForm(request.POST, people=people)
    if not form.is_valid():
        return _page(request, None, people, wrong=form.errors_by_field(), status=422)
    try:
        made = add_group(actor=actor, name=form.cleaned_data["name"], members=form.keys())
    except PolicyRefused as error:
        return _page(request, None, people, wrong={"name": error.sentence}, status=422)
    return redirect_with_notice(request, f"The group “{made.name}” is there.", "policy-groups")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def group(request: DeskRequest, group_id: int) -> HttpResponse:
    """Show one group; rename it or change its members. That asks to confirm who one is: it changes who may approve."""
    actor = admin_or_403(request)
    found = Group.objects.filter(pk=group_id).first()
    if found is None:
        raise Http404("There is no such group.")
    people = _people(found)
    if request.method != "POST":
        return _page(request, found, people)
    form = GroupForm(request.POST, people=people)
    if not form.is_valid():
        return _page(request, found, people, wrong=form.errors_by_field(), status=422)
    if not is_recently_authenticated(request):
        return ask_first(request)
    cleaned = form.cleaned_data
    try:
        change_group(actor=actor, group_id=group_id, seen=cleaned["seen"], name=cleaned["name"], members=form.keys())
    except StalePolicy as error:
        return _page(request, found, people, error=error.sentence, status=409)
    except PolicyRefused as error:
        return _page(request, found, people, wrong={"name": error.sentence}, status=422)
    return redirect_with_notice(request, f"The group “{cleaned['name']}” is saved.", "policy-groups")


@login_required
@require_POST
def delete(request: DeskRequest, group_id: int) -> HttpResponse:
    """Delete a group that no rule names."""
    actor = admin_or_403(request)
    try:
        name = delete_group(actor=actor, group_id=group_id)
    except (PolicyRefused, StalePolicy) as error:
        return answer_groups(request, error=error.sentence, status=409)
    return redirect_with_notice(request, f"The group “{name}” is deleted.", "policy-groups")


def _page(
    request: DeskRequest,
    found: Group | None,
    people: dict[str, str],
    *,
    wrong: dict[str, str] | None = None,
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    stored = Group.objects.filter(pk=found.pk).first() if found else None
    members = {str(one) for one in stored.members.values_list("pk", flat=True)} if stored else set()
    is_posted = request.method == "POST"
    ticked = set(request.POST.getlist("members")) if is_posted else members
    context = {
        "group": stored,
        "waiting_changes": PendingChange.objects.at("policy-group", stored.pk) if stored else (),
        "name": request.POST.get("name", "") if is_posted else stored.name if stored else "",
        "people": checks_of(people, ticked),
        # After a conflict the form is one of the group as it is now, and still has what was typed.
        "seen": seen_state(stored) if stored else "",
        "now_members": [people.get(one, "somebody who left") for one in sorted(members)] if error else [],
        "wrong": wrong or {},
        "error": error,
        "max_name": MAX_NAME,
    }
    if is_posted and not error and request.POST.get("seen"):
        context["seen"] = request.POST["seen"][:16]
    return render(request, "policy/rules/group.html", context, status=status)
