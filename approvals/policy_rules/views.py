"""Pages of the policy: its active version and draft, past versions, and ready-made
policies; and the actions that begin, discard and activate a draft.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from approvals.policy_rules.rehearsal import DAYS, SENT_BY_PASS, rehearse
from common.actors import Actor
from common.errors import SentenceError
from common.pages import (
    DeskRequest,
    SentenceForm,
    answer,
    changes,
    cleaned,
    first_or_404,
    redirect_with_notice,
    require_get_or_post,
)
from common.postgres import clock
from people.sign_in.reauthentication import ask_first, is_recently_authenticated
from policy.errors import PolicyRefused, StalePolicy
from policy.models import PolicyVersion
from policy.rules.changes import (
    MAX_NOTE,
    NO_PASSES,
    Policies,
    activate_draft,
    begin_draft,
    begin_ready_made,
    discard_draft,
    has_two_admins,
    parts_in,
    passes_of,
    policies,
    rules_of,
)
from policy.rules.facts import active_policy, signed_passes
from policy.rules.names import names_for, read_staff
from policy.rules.passes import Pass
from policy.rules.ready_made import GROUPS, READY_MADE, ReadyMade
from policy.rules.rules import Difference, One, Part, Parts, PolicyRule, differences
from policy.rules.satisfiable import problems
from policy.rules.wording import Names, listed

_NOT_YOURS = "Only an admin of everything can change the policy."


class SeenForm(SentenceForm):
    """The number of edits of the draft that the page showed, by which a button that was
    shown before somebody else's change is refused.
    """

    edits = forms.IntegerField(
        min_value=0, error_messages={"required": "Reload the page, and try again."}
    )


class ActivateForm(SeenForm):
    """The state that the activation page showed, and a note why the draft is activated.
    `active` is the number of the version that was active.
    """

    active = forms.IntegerField(min_value=0)
    note = forms.CharField(
        required=False,
        max_length=MAX_NOTE,
        error_messages={"max_length": f"Keep the note under {MAX_NOTE} characters."},
    )


def lines_of(
    rules: Iterable[Part], names: Names, problems: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Return what pages show about each rule or pass, in order: the rule, the address
    of its form, its sentence, its owner and its problems.
    """
    return [
        {
            "rule": rule,
            "url": reverse(
                "policy-pass" if isinstance(rule, Pass) else "policy-rule",
                args=[rule.id],
            ),
            "sentence": rule.sentence(names),
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
    """Return sentences about what is wrong with rules, by the rules' ids. Only people
    who can change the rules get them, because they name people and mailboxes.
    """
    sentences: dict[str, list[str]] = {}
    if rules and actor.is_admin_of_all:
        for problem in problems(rules, read_staff()):
            sentences.setdefault(problem.rule, []).append(problem.sentence)
    return sentences


def _base_changes(now: Policies, actor: Actor) -> list[Difference]:
    """Return what changed in the active version since the draft was begun. Empty if the
    draft was begun from the version that is active.
    """
    if now.draft is None or now.draft.based_on == now.active_number:
        return []
    based_on = PolicyVersion.objects.filter(number=now.draft.based_on).first()
    base = parts_in(based_on) if based_on else ()
    names = names_for(actor, (*base, *now.active_parts))
    return differences(base, now.active_parts, names)


def visible_rules(actor: Actor, rules: tuple[One, ...]) -> tuple[One, ...]:
    """Return the rules or passes, or none for people without any role."""
    return rules if actor.scopes else ()


def admin_or_403(request: DeskRequest) -> Actor:
    """Return the actor. Raises PermissionDenied if they are no admin of everything."""
    actor = request.actor
    if not actor.is_admin_of_all:
        raise PermissionDenied(_NOT_YOURS)
    return actor


def answer_policy(
    request: DeskRequest, *, error: SentenceError | None = None, **_: Any
) -> HttpResponse:
    """Show the active version and the draft; after a refused action with its error."""
    actor = request.actor
    now = policies()
    active = visible_rules(actor, now.active_parts)
    draft = visible_rules(actor, now.draft_parts)
    names = names_for(actor, (*active, *draft))
    lines: dict[str, Any] = {}
    for which, parts in (("active", active), ("draft", draft)):
        rules = rules_of(parts)
        lines[which] = lines_of(rules, names, problems_of(rules, actor))
        lines[f"{which}_passes"] = lines_of(passes_of(parts), names, {})
    # Who signed a pass of the active version; empty if it does not count.
    signed = signed_passes(active_policy(), clock()) if active else {}
    for line in lines["active_passes"]:
        line["signed"] = signed.get(line["rule"].id, (None, ""))[1]
    context = {
        **lines,
        "now": now,
        "no_passes": "" if has_two_admins() else NO_PASSES,
        "changed": differences(active, draft, names) if now.draft else [],
        "meanwhile": _base_changes(now, actor),
        "may_change": actor.is_admin_of_all,
        "unreadable": now.unreadable,
    }
    return answer(request, "policy/rules/policy.html", context, error)


policy = require_safe(answer_policy)


changes_policy = changes(answer_policy, to="policy")


@require_POST
@changes_policy
def begin(request: DeskRequest) -> str:
    """Begin a draft: from the active version, from an older one, or from a ready-made
    policy.
    """
    actor = admin_or_403(request)
    source = request.POST.get("from", "")
    kind, _, name = source.partition("-")
    if kind == "ready":
        chosen = _ready_made_or_404(name)
        new_groups = begin_ready_made(actor=actor, policy=chosen)
        notice = (
            f"“{chosen.title}” is the draft now. Change what does not fit; nothing "
            "changes until it is activated."
        )
        if new_groups:
            notice += f" Add members to the new group{'s' if len(new_groups) > 1 else ''} {listed(new_groups)}."
        return notice
    if kind == "version":
        version = _version_or_404(
            int(name) if name.isascii() and name.isdecimal() and len(name) < 10 else 0
        )
        begin_draft(actor=actor, rules=parts_in(version), based_on=version.number)
    else:
        now = policies()
        begin_draft(actor=actor, rules=now.active_parts, based_on=now.active_number)
    return "The draft is begun. Nothing changes until it is activated."


@require_POST
@changes_policy
def discard(request: DeskRequest) -> str:
    """Discard the draft. Its rules stay in the ledger."""
    actor = admin_or_403(request)
    discard_draft(actor=actor, edits=cleaned(SeenForm(request.POST))["edits"])
    return "The draft is discarded. The ledger keeps what it said."


@require_get_or_post
def activate(request: DeskRequest) -> HttpResponse:
    """Show what the draft changes, and what it would have done to past messages. On
    POST, activate it.
    """
    actor = admin_or_403(request)
    form = ActivateForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return _activate_page(request, form)
    if not is_recently_authenticated(request):
        return ask_first(request)
    typed = form.cleaned_data
    try:
        activated = activate_draft(
            actor=actor,
            edits=typed["edits"],
            active=typed["active"],
            note=typed.get("note") or "",
        )
    except (PolicyRefused, StalePolicy) as error:
        return _activate_page(request, form, error)
    notice = f"Version {activated.number} is active. Waiting messages are decided by its rules from now on."
    return redirect_with_notice(request, notice, "policy")


def _activate_page(
    request: DeskRequest, form: ActivateForm, error: SentenceError | None = None
) -> HttpResponse:
    actor = request.actor
    now = policies()
    if now.draft is None:
        if error:
            return answer_policy(request, error=error)
        messages.info(request, "There is no draft to activate.", extra_tags="desk")
        return redirect("policy")
    names = names_for(actor, (*now.active_parts, *now.draft_parts))
    rehearsal = rehearse(
        before=now.active_parts, after=now.draft_parts, actor=actor, now=timezone.now()
    )
    problems_by_rule = problems_of(now.draft_rules, actor)
    context = {
        "now": now,
        "changed": differences(now.active_parts, now.draft_parts, names),
        "meanwhile": _base_changes(now, actor),
        "problems": [
            sentence
            for one in now.draft_rules
            for sentence in problems_by_rule.get(one.id, ())
        ],
        "days": DAYS,
        "tried": rehearsal,
        "rows": [
            (
                message,
                SENT_BY_PASS if before is None else before.outcome_in_words(names),
                SENT_BY_PASS if after is None else after.outcome_in_words(names),
            )
            for message, before, after in rehearsal.rows
        ],
        "form": form,
    }
    return answer(request, "policy/rules/activate.html", context, error, form=form)


@require_safe
def versions(request: DeskRequest) -> HttpResponse:
    """List every version that is or was active, newest first, with what it changed, who
    activated it, and when.
    """
    past = list(PolicyVersion.objects.activated()) if request.actor.scopes else []
    parts = [parts_in(one) for one in past]
    names = names_for(request.actor, [one for each in parts for one in each])
    before: list[Parts] = [*parts[1:], ()]
    context = {
        "versions": [
            (one, differences(old, new, names), len(rules_of(new)), len(passes_of(new)))
            for one, old, new in zip(past, before, parts, strict=False)
        ],
    }
    return render(request, "policy/rules/versions.html", context)


@require_safe
def version(request: DeskRequest, policy_number: int) -> HttpResponse:
    """Show the rules and passes of one version."""
    past_version = _version_or_404(policy_number)
    parts = visible_rules(request.actor, parts_in(past_version))
    names = names_for(request.actor, parts)
    context = {
        "version": past_version,
        "lines": lines_of(rules_of(parts), names, {}),
        "passes": lines_of(passes_of(parts), names, {}),
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
    """List the ready-made policies, from which a draft can begin."""
    return render(
        request, "policy/rules/ready_made.html", {"policies": READY_MADE.values()}
    )


@require_safe
def ready_made_policy(request: DeskRequest, ready_made: str) -> HttpResponse:
    """Show the rules of one ready-made policy."""
    chosen = _ready_made_or_404(ready_made)
    context: dict[str, Any] = {
        "policy": chosen,
        "lines": lines_of(
            chosen.rules,
            Names(groups=GROUPS),
            {},
        ),
        "groups": listed(list(chosen.groups.values())),
        "may_change": request.actor.is_admin_of_all,
        "has_draft": PolicyVersion.objects.draft().exists(),
    }
    return render(request, "policy/rules/ready_made_policy.html", context)


def _ready_made_or_404(name: str) -> ReadyMade:
    chosen = READY_MADE.get(name)
    if chosen is None:
        raise Http404("There is no such ready-made policy.")
    return chosen
