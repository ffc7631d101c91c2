"""The pages of the policy: the active version with the draft, past versions, ready-made
policies, and activating.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import (
    require_POST,
    require_safe,
)

from approvals.policy_rules.rehearsal import DAYS, rehearse
from common.actors import Actor
from common.pages import (
    DeskRequest,
    SentenceForm,
    first_or_404,
    redirect_with_notice,
    require_get_or_post,
)
from people.models import PendingChange
from people.sign_in.reauthentication import ask_first, is_recently_authenticated
from policy.errors import PolicyError, PolicyRefused, StalePolicy
from policy.models import PolicyVersion
from policy.rules.changes import (
    MAX_NOTE,
    Policies,
    activate_draft,
    begin_draft,
    begin_ready_made,
    discard_draft,
    policies,
    rules_in,
)
from policy.rules.names import names_for, read_staff
from policy.rules.ready_made import GROUPS, READY_MADE, ReadyMade
from policy.rules.rules import (
    Difference,
    Names,
    PolicyRule,
    Rules,
    as_sentence,
    differences,
    listed,
    outcome_in_words,
)
from policy.rules.satisfiable import problems

_NOT_YOURS = "Only an admin of everything can change the policy."


class SeenForm(SentenceForm):
    """What a button says of the state that its page showed."""

    edits = forms.IntegerField(
        min_value=0, error_messages={"required": "Reload the page, and try again."}
    )


class ActivateForm(SeenForm):
    """What the page of the activation showed, and why it is done."""

    active = forms.IntegerField(min_value=0)
    note = forms.CharField(
        required=False,
        max_length=MAX_NOTE,
        error_messages={"max_length": f"Keep the note under {MAX_NOTE} characters."},
    )


def lines_of(
    rules: Iterable[PolicyRule], names: Names, problems: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Return rules for a page, in their order."""
    return [
        {
            "rule": rule,
            "sentence": as_sentence(rule, names),
            "owner": names.people.get(rule.owner, "somebody who left")
            if rule.owner
            else "",
            "problems": problems.get(rule.id),
        }
        for rule in rules
    ]


def problems_of(
    rules: Sequence[PolicyRule], actor: Actor
) -> Mapping[str, Sequence[str]]:
    """Return sentences about rules, by their ids, for those who can change them: they
    name people and mailboxes.
    """
    found: dict[str, list[str]] = {}
    if rules and actor.is_admin_of_all:
        for one in problems(rules, read_staff()):
            found.setdefault(one.rule, []).append(one.sentence)
    return found


def _base_changes(now: Policies, actor: Actor) -> list[Difference]:
    """Return what became active since the draft was begun from another version; nothing
    where none did.
    """
    if now.draft is None or now.draft.based_on == now.active_number:
        return []
    based_on = PolicyVersion.objects.filter(number=now.draft.based_on).first()
    base = rules_in(based_on) if based_on else ()
    names = names_for(actor, (*base, *now.active_rules))
    return differences(base, now.active_rules, names)


def visible_rules(actor: Actor, rules: Rules) -> Rules:
    """Return the rules; none for somebody without a role."""
    return rules if actor.scopes else ()


def admin_or_403(request: DeskRequest) -> Actor:
    """Return the actor. Raises PermissionDenied for all but admins of everything."""
    actor = request.actor
    if not actor.is_admin_of_all:
        raise PermissionDenied(_NOT_YOURS)
    return actor


def answer_policy(
    request: DeskRequest, error: PolicyError | None = None
) -> HttpResponse:
    """Show the active version and the draft, with what was wrong where something was."""
    actor = request.actor
    now = policies()
    active = visible_rules(actor, now.active_rules)
    draft = visible_rules(actor, now.draft_rules)
    names = names_for(actor, (*active, *draft))
    context = {
        "now": now,
        "active": lines_of(active, names, problems_of(active, actor)),
        "draft": lines_of(draft, names, problems_of(draft, actor)),
        "changed": differences(active, draft, names) if now.draft else [],
        "meanwhile": _base_changes(now, actor),
        "may_change": actor.is_admin_of_all,
        "waiting_changes": PendingChange.objects.visible_to(actor).at("policy"),
        "error": error.sentence if error else now.unreadable,
    }
    return render(request, "policy/rules/policy.html", context, status=status_of(error))


def status_of(error: PolicyError | None) -> int:
    """Return 409 where the draft or a group was changed meanwhile, 422 for what is
    refused.
    """
    if error is None:
        return 200
    return 409 if isinstance(error, StalePolicy) else 422


policy = require_safe(answer_policy)


@require_POST
def begin(request: DeskRequest) -> HttpResponse:
    """Begin a draft: from the active version, from an older one, or from a ready-made
    policy.
    """
    actor = admin_or_403(request)
    source = request.POST.get("from", "")
    kind, _, name = source.partition("-")
    try:
        if kind == "ready":
            found = _ready_made_or_404(name)
            made = begin_ready_made(actor=actor, policy=found)
            notice = (
                f"“{found.title}” is the draft now. Change what does not fit; nothing "
                "changes until it is activated."
            )
            if made:
                notice += f" Add members to the new group{'s' if len(made) > 1 else ''} {listed(made)}."
            return redirect_with_notice(request, notice, "policy")
        if kind == "version":
            version = _version_or_404(
                int(name)
                if name.isascii() and name.isdecimal() and len(name) < 10
                else 0
            )
            begin_draft(actor=actor, rules=rules_in(version), based_on=version.number)
        else:
            now = policies()
            begin_draft(actor=actor, rules=now.active_rules, based_on=now.active_number)
    except StalePolicy as error:
        return answer_policy(request, error)
    return redirect_with_notice(
        request, "The draft is begun. Nothing changes until it is activated.", "policy"
    )


@require_POST
def discard(request: DeskRequest) -> HttpResponse:
    """Discard the draft; the ledger keeps what it said."""
    actor = admin_or_403(request)
    form = SeenForm(request.POST)
    try:
        if not form.is_valid():
            raise PolicyRefused(form.first_error())
        discard_draft(actor=actor, edits=form.cleaned_data["edits"])
    except (PolicyRefused, StalePolicy) as error:
        return answer_policy(request, error)
    return redirect_with_notice(
        request, "The draft is discarded. The ledger keeps what it said.", "policy"
    )


@require_get_or_post
def activate(request: DeskRequest) -> HttpResponse:
    """Show what the draft changes and what it would have done; activate it."""
    actor = admin_or_403(request)
    form = ActivateForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return _activate_page(request, form)
    if not is_recently_authenticated(request):
        return ask_first(request)
    cleaned = form.cleaned_data
    try:
        done = activate_draft(
            actor=actor,
            edits=cleaned["edits"],
            active=cleaned["active"],
            note=cleaned.get("note") or "",
        )
    except StalePolicy as error:
        return _activate_page(request, form, error)
    notice = f"Version {done.number} is active. Waiting messages are decided by its rules from now on."
    return redirect_with_notice(request, notice, "policy")


def _activate_page(
    request: DeskRequest, form: ActivateForm, error: StalePolicy | None = None
) -> HttpResponse:
    actor = request.actor
    now = policies()
    if now.draft is None:
        if error:
            return answer_policy(request, error)
        messages.info(request, "There is no draft to activate.", extra_tags="desk")
        return redirect("policy")
    names = names_for(actor, (*now.active_rules, *now.draft_rules))
    tried = rehearse(
        before=now.active_rules, after=now.draft_rules, actor=actor, now=timezone.now()
    )
    told = problems_of(now.draft_rules, actor)
    context = {
        "now": now,
        "changed": differences(now.active_rules, now.draft_rules, names),
        "meanwhile": _base_changes(now, actor),
        "problems": [
            sentence for one in now.draft_rules for sentence in told.get(one.id, ())
        ],
        "days": DAYS,
        "tried": tried,
        "rows": [
            (
                message,
                outcome_in_words(before, names),
                outcome_in_words(after, names),
            )
            for message, before, after in tried.rows
        ],
        "form": form,
        "error": error.sentence if error else "",
    }
    status = 422 if form.errors else status_of(error)
    return render(request, "policy/rules/activate.html", context, status=status)


@require_safe
def versions(request: DeskRequest) -> HttpResponse:
    """List every version that is or was active, the newest first: what each changed,
    who activated it, and when.
    """
    past = list(PolicyVersion.objects.activated()) if request.actor.scopes else []
    rules = [rules_in(one) for one in past]
    names = names_for(request.actor, [rule for each in rules for rule in each])
    before: list[Rules] = [*rules[1:], ()]
    context = {
        "versions": [
            (one, differences(old, new, names), len(new))
            for one, old, new in zip(past, before, rules, strict=False)
        ],
    }
    return render(request, "policy/rules/versions.html", context)


@require_safe
def version(request: DeskRequest, policy_number: int) -> HttpResponse:
    """Show the rules of one version."""
    found = _version_or_404(policy_number)
    rules = visible_rules(request.actor, rules_in(found))
    context = {
        "version": found,
        "lines": lines_of(rules, names_for(request.actor, rules), {}),
        "may_change": request.actor.is_admin_of_all,
        "has_draft": PolicyVersion.objects.draft().exists(),
    }
    return render(request, "policy/rules/version.html", context)


def _version_or_404(number: int) -> PolicyVersion:
    return first_or_404(
        PolicyVersion.objects.activated().filter(number=number),
        "There is no such version of the policy.",
    )


@require_safe
def ready_made_policies(request: DeskRequest) -> HttpResponse:
    """List the policies to begin with."""
    return render(
        request, "policy/rules/ready_made.html", {"policies": READY_MADE.values()}
    )


@require_safe
def ready_made_policy(request: DeskRequest, ready_made: str) -> HttpResponse:
    """Show the rules of one policy to begin with."""
    found = _ready_made_or_404(ready_made)
    context: dict[str, Any] = {
        "policy": found,
        "lines": lines_of(
            found.rules,
            Names(groups=GROUPS, findings=names_for(request.actor, ()).findings),
            {},
        ),
        "groups": listed(list(found.groups.values())),
        "may_change": request.actor.is_admin_of_all,
        "has_draft": PolicyVersion.objects.draft().exists(),
    }
    return render(request, "policy/rules/ready_made_policy.html", context)


def _ready_made_or_404(name: str) -> ReadyMade:
    found = READY_MADE.get(name)
    if found is None:
        raise Http404("There is no such ready-made policy.")
    return found
