"""The pages of groups: people whose approval a rule can ask for, or who may not give
it.
"""

from typing import Any

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from approvals.policy_rules.rule_form import CHOOSE, ChecksField, tick_first
from approvals.policy_rules.views import admin_or_403, visible_rules
from common.forms import SentenceForm
from common.pages import DeskRequest, first_or_404, redirect_with_notice
from people.models import PendingChange, Person
from people.sign_in.reauthentication import ask_first, is_recently_authenticated
from policy.errors import PolicyRefused, StalePolicy
from policy.models import Group
from policy.rules.changes import (
    MAX_NAME,
    add_group,
    change_group,
    delete_group,
    policies,
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
    members = ChecksField(required=False, coerce=int, error_messages=CHOOSE)
    seen = forms.CharField(required=False, max_length=16)

    def __init__(self, data: Any, *, group: Group | None) -> None:
        active = Person.objects.filter(is_active=True).order_by("name", "email")
        people = {str(one.pk): str(one) for one in active}
        initial: dict[str, Any] = {}
        if group:
            members = list(group.members.all())
            initial = {"name": group.name, "members": [one.pk for one in members]}
            # Those who left and still are members, too.
            people |= {
                str(one.pk): f"{one} (left)" for one in members if not one.is_active
            }
        super().__init__(data, initial=initial)
        self.fields["members"].choices = list(people.items())  # type: ignore[attr-defined]
        tick_first(self["members"])

    def clean_name(self) -> str:
        return " ".join(str(self.cleaned_data["name"]).split())


@require_safe
def groups(request: DeskRequest) -> HttpResponse:
    """List the groups with their members and the rules that name them."""
    return answer_groups(request)


def answer_groups(
    request: DeskRequest, *, error: str = "", status: int = 200
) -> HttpResponse:
    """Show the list of groups, with what was wrong where something was."""
    now = policies()
    rules = visible_rules(request.actor, (*now.active_rules, *now.draft_rules))
    found = (
        Group.objects.prefetch_related("members").order_by("name")
        if request.actor.scopes
        else ()
    )
    context = {
        "groups": [
            (
                one,
                one.members.all(),
                dict.fromkeys(rule.name for rule in rules_naming(one.pk, rules)),
            )
            for one in found
        ],
        "may_change": request.actor.is_admin_of_all,
        "error": error,
    }
    return render(request, "policy/rules/groups.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
def add(request: DeskRequest) -> HttpResponse:
    """Show the form of a new group; make it."""
    return _save_or_show(request, None)


@require_http_methods(["GET", "HEAD", "POST"])
def group(request: DeskRequest, group_id: int) -> HttpResponse:
    """Show one group; rename it or change its members. That asks to confirm who one is:
    it changes who may approve.
    """
    admin_or_403(request)
    found = first_or_404(Group.objects.filter(pk=group_id), "There is no such group.")
    return _save_or_show(request, found)


def _save_or_show(request: DeskRequest, found: Group | None) -> HttpResponse:
    actor = admin_or_403(request)
    form = GroupForm(request.POST if request.method == "POST" else None, group=found)
    if request.method != "POST":
        return _page(request, found, form)
    if not form.is_valid():
        return _page(request, found, form, status=422)
    if found and not is_recently_authenticated(request):
        return ask_first(request)
    wanted = form.cleaned_data
    seen = wanted.pop("seen")
    try:
        if found:
            change_group(actor=actor, group_id=found.pk, seen=seen, **wanted)
        else:
            add_group(actor=actor, **wanted)
    except StalePolicy as error:
        return _page(request, found, form, error=error.sentence, status=409)
    except PolicyRefused as error:
        form.add_error("name", error.sentence)
        return _page(request, found, form, status=422)
    words = "is saved" if found else "is there"
    return redirect_with_notice(
        request, f"The group “{wanted['name']}” {words}.", "policy-groups"
    )


@require_POST
def delete(request: DeskRequest, group_id: int) -> HttpResponse:
    """Delete a group that no rule names."""
    actor = admin_or_403(request)
    try:
        name = delete_group(actor=actor, group_id=group_id)
    except (PolicyRefused, StalePolicy) as error:
        return answer_groups(request, error=error.sentence, status=409)
    return redirect_with_notice(
        request, f"The group “{name}” is deleted.", "policy-groups"
    )


def _page(
    request: DeskRequest,
    found: Group | None,
    form: GroupForm,
    *,
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    stored = Group.objects.filter(pk=found.pk).first() if found else None
    people = dict(form.fields["members"].choices)  # type: ignore[attr-defined]
    members = (
        sorted(stored.members.values_list("pk", flat=True)) if stored and error else []
    )
    seen = seen_state(stored) if stored else ""
    # After a conflict the form is one of the group as it is now, and still has what was
    # typed.
    if request.method == "POST" and not error:
        seen = request.POST.get("seen", "")[:16] or seen
    context = {
        "group": stored,
        "form": form,
        "waiting_changes": PendingChange.objects.at("policy-group", stored.pk)
        if stored
        else (),
        "seen": seen,
        "now_members": [people.get(str(one), "somebody who left") for one in members],
        "error": error,
        "max_name": MAX_NAME,
    }
    return render(request, "policy/rules/group.html", context, status=status)
