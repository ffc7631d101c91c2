"""Admin pages that edit the policy's draft: the editor of one rule, and the buttons
that switch a rule on or off or delete it. Also the pages of groups: people whose
approval a rule can ask for, or who may not approve.
"""

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django import forms
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from approvals.policy_rules.rule_form import RuleForm
from approvals.policy_rules.views import (
    SeenForm,
    admin_or_403,
    answer_policy,
    changes_policy,
    problems_of,
    visible_rules,
)
from common.actors import Actor
from common.pages import (
    DeskRequest,
    SentenceForm,
    choices_by_pk,
    cleaned,
    first_or_404,
    redirect_with_notice,
    require_get_or_post,
)
from people.models import Person
from people.sign_in.reauthentication import ask_first, is_recently_authenticated
from policy.errors import PolicyRefused, StalePolicy
from policy.models import Group
from policy.rules.changes import (
    MAX_NAME,
    Policies,
    add_group,
    arrange_rules,
    change_group,
    delete_group,
    policies,
    rules_naming,
    save_rule,
    seen_state,
)
from policy.rules.fields import ChecksField
from policy.rules.names import names_for
from policy.rules.rules import ACTS, PolicyRule, find, with_part

# How the notice about an arranged rule goes on, by act.
_DONE = {
    "off": "is switched off.",
    "on": "is switched on.",
    "delete": "is deleted from the draft.",
}


class ArrangeForm(SeenForm):
    """Which of the buttons beside a rule was pressed."""

    act = forms.ChoiceField(
        choices=list(ACTS.items()),
        error_messages={"required": "Press one of the buttons."},
    )


@require_get_or_post
def add_rule(request: DeskRequest) -> HttpResponse:
    """Show the form for a new rule of the draft; preview what was typed, or save it."""
    admin_or_403(request)
    return _edit(request, policies(), None)


@require_get_or_post
def edit_rule(request: DeskRequest, policy_rule: str) -> HttpResponse:
    """Show the form of one rule of the draft; preview what was typed, or save it."""
    admin_or_403(request)
    now = policies()
    rule = find(now.draft_rules, policy_rule)
    if rule is None and not (now.draft and request.method == "POST"):
        if now.draft is None and find(now.active_rules, policy_rule):
            refusal = StalePolicy("Begin a draft to change this rule.")
            return answer_policy(request, error=refusal)
        raise Http404("There is no such rule in the draft.")
    return _edit(request, now, rule, rule_id=policy_rule)


@require_POST
@changes_policy
def arrange(request: DeskRequest, policy_rule: str) -> str:
    """Switch one rule or pass of the draft on or off, or delete it."""
    actor = admin_or_403(request)
    typed = cleaned(ArrangeForm(request.POST))
    rule = find(policies().draft_parts, policy_rule)
    act = typed["act"]
    arrange_rules(actor=actor, edits=typed["edits"], rule_id=policy_rule, act=act)
    return f"“{rule.name if rule else policy_rule}” {_DONE[act]}"


def _edit(
    request: DeskRequest, now: Policies, rule: PolicyRule | None, rule_id: str = ""
) -> HttpResponse:
    """Show the form of a stored rule or a new one, preview what was typed, or save what
    was previewed.
    """
    actor = request.actor
    typed = request.POST if request.method == "POST" else None
    form = RuleForm(typed, actor=actor, stored=rule)
    if typed is None and now.draft is None:
        return answer_policy(request, error=StalePolicy("Begin a draft first."))
    if typed is None or not form.is_valid():
        return _page(request, now, rule, form)
    wanted = form.rule(rule_id=rule_id or "new")
    # Only a rule that was previewed is saved.
    is_previewed = form.cleaned_data["previewed"] == digest(wanted)
    if typed.get("act") != "save" or not is_previewed:
        return _page(request, now, rule, form, preview=wanted)
    seen_form = SeenForm(typed)
    if not seen_form.is_valid():
        return _page(
            request, now, rule, form, preview=wanted, error=seen_form.first_error()
        )
    stored = wanted if rule_id else replace(wanted, id=secrets.token_hex(6))
    try:
        draft = save_rule(
            actor=actor, edits=seen_form.cleaned_data["edits"], rule=stored
        )
    except StalePolicy as stale:
        return _page(
            request, policies(), rule, form, preview=wanted, stale=stale.sentence
        )
    except PolicyRefused as refused:
        return _page(request, now, rule, form, preview=wanted, error=refused.sentence)
    notices = (
        f"“{stored.name}” is saved in the draft, version {draft.number}.",
        *_problems(now, stored, actor),
    )
    return redirect_with_notice(request, " ".join(notices), "policy")


def _page(
    request: DeskRequest,
    now: Policies,
    rule: PolicyRule | None,
    form: RuleForm,
    *,
    preview: PolicyRule | None = None,
    error: str = "",
    stale: str = "",
) -> HttpResponse:
    """Show the form. If somebody has changed the draft in the meantime, `stale` is the
    sentence that says so, and the rule is shown as it is in the draft now.
    """
    actor = request.actor
    # Keep the posted number: otherwise a form from before somebody else's change would
    # pass for one that was shown after it.
    edits = request.POST.get("edits", "")
    if stale or not edits.isdecimal():
        edits = str(now.draft.edits if now.draft else 0)
    context: dict[str, object] = {
        "rule": rule,
        "form": form,
        "edits": edits,
        "preview": preview,
        "is_stale": bool(stale),
        "has_draft": now.draft is not None,
    }
    if preview:
        context["digest"] = digest(preview)
        context["sentence"] = preview.sentence(names_for(actor, (preview,)))
        context["problems"] = _problems(now, preview, actor)
        rule_in_draft = find(now.draft_rules, preview.id)
        if stale and rule_in_draft:
            sentence = rule_in_draft.sentence(names_for(actor, (rule_in_draft,)))
            context["stored"] = f"{rule_in_draft.name}: {sentence}"
    status = 422 if error or form.errors else 200
    if stale:
        error = stale
        status = 409
    elif now.draft is None and not error:
        error = "There is no draft any more: somebody activated or discarded it. Begin one to save this rule."
        status = 409
    context["error"] = error
    return render(request, "policy/rules/rule.html", context, status=status)


def _problems(now: Policies, rule: PolicyRule, actor: Actor) -> Sequence[str]:
    return problems_of(with_part(now.draft_rules, rule), actor).get(rule.id, ())


def digest(rule: PolicyRule) -> str:
    """Return a hash of the rule, to recognise the rule that was previewed."""
    return hashlib.sha256(
        json.dumps(rule.as_json(), sort_keys=True).encode()
    ).hexdigest()


class GroupForm(SentenceForm):
    """A group's name and its members."""

    name = forms.CharField(
        max_length=MAX_NAME,
        error_messages={
            "required": "Give the group a name.",
            "max_length": f"Keep the name under {MAX_NAME} characters.",
        },
    )
    seen = forms.CharField(required=False, max_length=16)

    def __init__(self, data: Any, *, group: Group | None) -> None:
        people = choices_by_pk(
            Person.objects.filter(is_active=True).order_by("name", "email")
        )
        initial: dict[str, Any] = {}
        if group:
            members = list(group.members.all())
            initial = {"name": group.name, "members": [one.pk for one in members]}
            # Members who have left the desk stay choices.
            people |= {
                str(one.pk): f"{one} (left)" for one in members if not one.is_active
            }
        super().__init__(data, initial=initial)
        self.fields["members"] = ChecksField("Members", people, int)

    def clean_name(self) -> str:
        return " ".join(str(self.cleaned_data["name"]).split())


def _groups_page(request: DeskRequest, *, error: str = "") -> HttpResponse:
    """List the groups with their members and the rules that name them."""
    now = policies()
    rules = visible_rules(request.actor, (*now.active_rules, *now.draft_rules))
    all_groups = (
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
            for one in all_groups
        ],
        "may_change": request.actor.is_admin_of_all,
        "error": error,
    }
    return render(
        request, "policy/rules/groups.html", context, status=409 if error else 200
    )


groups = require_safe(_groups_page)


@require_get_or_post
def new_group(request: DeskRequest) -> HttpResponse:
    """Show the form of a new group. On POST, create the group."""
    return _save_group(request, None)


@require_get_or_post
def group(request: DeskRequest, group_id: int) -> HttpResponse:
    """Show one group. On POST, rename it or change its members, which requires recent
    authentication because it changes who may approve.
    """
    admin_or_403(request)
    existing = first_or_404(
        Group.objects.filter(pk=group_id), "There is no such group."
    )
    return _save_group(request, existing)


def _save_group(request: DeskRequest, existing: Group | None) -> HttpResponse:
    actor = admin_or_403(request)
    form = GroupForm(request.POST if request.method == "POST" else None, group=existing)
    if not form.is_valid():
        return _group_page(request, existing, form)
    if existing and not is_recently_authenticated(request):
        return ask_first(request)
    wanted = form.cleaned_data
    seen = wanted.pop("seen")
    try:
        if existing:
            change_group(actor=actor, group_id=existing.pk, seen=seen, **wanted)
        else:
            add_group(actor=actor, **wanted)
    except StalePolicy as error:
        return _group_page(request, existing, form, error=error.sentence)
    except PolicyRefused as error:
        form.add_error("name", error.sentence)
        return _group_page(request, existing, form)
    words = "was saved" if existing else "was created"
    return redirect_with_notice(
        request, f"The group “{wanted['name']}” {words}.", "policy-groups"
    )


@require_POST
def remove_group(request: DeskRequest, group_id: int) -> HttpResponse:
    """Delete a group that no rule names."""
    actor = admin_or_403(request)
    try:
        name = delete_group(actor=actor, group_id=group_id)
    except (PolicyRefused, StalePolicy) as error:
        return _groups_page(request, error=error.sentence)
    return redirect_with_notice(
        request, f"The group “{name}” is deleted.", "policy-groups"
    )


def _group_page(
    request: DeskRequest, existing: Group | None, form: GroupForm, *, error: str = ""
) -> HttpResponse:
    """Show the form of a group. After a conflict, `error` says so, and the present
    members are shown as well.
    """
    stored = Group.objects.filter(pk=existing.pk).first() if existing else None
    people = dict(form.fields["members"].choices)  # type: ignore[attr-defined]
    members = (
        sorted(stored.members.values_list("pk", flat=True)) if stored and error else []
    )
    seen = seen_state(stored) if stored else ""
    # After a conflict the form keeps what was typed and can be sent again: `seen` is
    # then the group's present state.
    if request.method == "POST" and not error:
        seen = request.POST.get("seen", "")[:16] or seen
    context = {
        "group": stored,
        "form": form,
        "seen": seen,
        "now_members": [people.get(str(one), "somebody who left") for one in members],
        "error": error,
        "max_name": MAX_NAME,
    }
    status = 409 if error else 422 if form.errors else 200
    return render(request, "policy/rules/group.html", context, status=status)
