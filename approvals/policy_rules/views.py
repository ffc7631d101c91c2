"""Pages of the policy: what is in force with the draft and the versions, one version,
the form of a rule or pass, and activating; and the actions that begin, change and
discard a draft.
"""

import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from approvals.policy_rules.forms import PartForm, SeenForm
from approvals.policy_rules.rehearsal import rehearse
from common.actors import Actor
from common.errors import SentenceError
from common.pages import (
    DeskRequest,
    admin_or_403,
    answer,
    changes,
    cleaned,
    first_or_404,
    redirect_with_notice,
    require_get_or_post,
)
from people.sign_in.reauthentication import ask_first, is_recently_authenticated
from policy.errors import PolicyRefused, StalePolicy
from policy.models import PolicyVersion
from policy.rules.changes import (
    MAX_NOTE,
    NO_PASSES,
    Policies,
    activate_draft,
    arrange_rules,
    begin_draft,
    discard_draft,
    has_two_admins,
    parts_in,
    policies,
    rules_of,
    save_rule,
)
from policy.rules.facts import active_policy, signed_passes
from policy.rules.names import names_for, read_staff
from policy.rules.passes import Pass
from policy.rules.ready_made import GROUPS, READY_MADE, begin_ready_made
from policy.rules.rules import (
    ACTS,
    Part,
    Parts,
    described,
    differences,
    find,
)
from policy.rules.satisfiable import problems
from policy.rules.wording import Names, listed


class ActivateForm(SeenForm):
    """The state that the activation page showed, and a note why the draft is activated.
    `active` is the number of the version that was active.
    """

    active = forms.IntegerField(min_value=0)
    note = forms.CharField(
        label="Why, for whoever reads the versions later (optional)",
        required=False,
        max_length=MAX_NOTE,
    )


class ArrangeForm(SeenForm):
    """Which of the buttons beside a rule or pass was pressed."""

    act = forms.ChoiceField(choices=list(ACTS.items()))


def lines_of(
    parts: Iterable[Part],
    names: Names,
    problems: Mapping[str, list[str]] | None = None,
) -> list[dict[str, Any]]:
    """Return what pages show about each rule or pass, in order: its sentence, its
    owner and its problems.
    """
    return [
        {
            "part": one,
            "is_pass": isinstance(one, Pass),
            "sentence": one.sentence(names),
            "owner": one.owned_by(names),
            "problems": (problems or {}).get(one.id),
        }
        for one in parts
    ]


def problems_of(parts: Parts, actor: Actor) -> dict[str, list[str]]:
    """Return sentences about what is wrong with rules, by the rules' ids. Only people
    who can change the rules get them, because they name people and mailboxes.
    """
    sentences = defaultdict[str, list[str]](list)
    if actor.is_admin_of_all:
        for problem in problems(rules_of(parts), read_staff()):
            sentences[problem.rule].append(problem.sentence)
    return sentences


def of_draft(now: Policies, actor: Actor) -> dict[str, Any]:
    """Return what the pages with a draft show: its rules and passes, what it changes,
    and what changed in force since it was begun.
    """
    base: Parts = now.active_parts
    if now.draft and now.draft.based_on != now.active_number:
        based_on = PolicyVersion.objects.filter(number=now.draft.based_on).first()
        base = parts_in(based_on) if based_on else ()
    base, active, draft = (
        visible_parts(actor, one) for one in (base, now.active_parts, now.draft_parts)
    )
    names = names_for(actor, (*base, *active, *draft))
    return {
        "now": now,
        "names": names,
        "draft": lines_of(draft, names, problems_of(draft, actor)),
        "meanwhile": differences(base, active, names),
        "changed": differences(active, draft, names) if now.draft else (),
        "may_change": actor.is_admin_of_all,
    }


def visible_parts(actor: Actor, parts: Parts) -> Parts:
    """Return the rules and passes, or none for people without any role."""
    return parts if actor.scopes else ()


def answer_policy(
    request: DeskRequest, *, error: SentenceError | None = None, **_: Any
) -> HttpResponse:
    """Show what is in force, the draft, and the versions; after a refused action with
    its error.
    """
    actor = request.actor
    now = policies()
    context = of_draft(now, actor)
    active = visible_parts(actor, now.active_parts)
    context["active"] = lines_of(active, context["names"], problems_of(active, actor))
    # Who signed a pass of the active version; empty if it does not count.
    signed = signed_passes(active_policy(), timezone.now()) if active else {}
    for line in context["active"]:
        line["signed"] = signed.get(line["part"].id, (None, ""))[1]
    ready_names = Names(groups=GROUPS)
    context |= {
        "no_passes": "" if has_two_admins() else NO_PASSES,
        "versions": PolicyVersion.objects.activated(),
        "ready_made": [
            (one, lines_of(one.rules, ready_names)) for one in READY_MADE.values()
        ],
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
    if chosen := READY_MADE.get(source):
        groups = begin_ready_made(actor=actor, policy=chosen)
        made = f" Add members to the new groups: {listed(groups)}." if groups else ""
        return f"“{chosen.title}” is the draft now.{made}"
    now = policies()
    parts, number = now.active_parts, now.active_number
    for old in PolicyVersion.objects.activated():
        if source == f"version-{old.number}":
            parts, number = parts_in(old), old.number
    begin_draft(actor=actor, rules=parts, based_on=number)
    return "The draft is begun. Nothing changes until it is activated."


@require_POST
@changes_policy
def discard(request: DeskRequest) -> str:
    """Discard the draft. Its rules stay in the ledger."""
    actor = admin_or_403(request)
    discard_draft(actor=actor, edits=cleaned(SeenForm(request.POST))["edits"])
    return "The draft is discarded. The ledger keeps what it said."


@require_POST
@changes_policy
def arrange(request: DeskRequest, policy_part: str) -> str:
    """Switch one rule or pass of the draft on or off, or delete it."""
    actor = admin_or_403(request)
    typed = cleaned(ArrangeForm(request.POST))
    part = find(policies().draft_parts, policy_part)
    arrange_rules(actor=actor, rule_id=policy_part, **typed)
    act = typed["act"]
    done = "deleted from the draft" if act == "delete" else f"switched {act}"
    return f"“{part.name if part else policy_part}” is {done}."


@require_get_or_post
def edit(
    request: DeskRequest, form_class: type[PartForm], policy_part: str = ""
) -> HttpResponse:
    """Show the form of a rule or pass of the draft, or of a new one. On POST, save it
    in the draft.
    """
    actor = admin_or_403(request)
    typed = request.POST if request.method == "POST" else None
    now = policies()
    of_its_kind = [one for one in now.draft_parts if isinstance(one, form_class.makes)]
    stored = find(of_its_kind, policy_part)
    if typed is None and (now.draft is None or (policy_part and not stored)):
        raise Http404("There is no draft, or this is not in it any more.")
    edits = now.draft.edits if now.draft else 0
    form = form_class(typed, actor=actor, stored=stored, edits=edits)
    error: SentenceError | None = None
    if form.is_valid():
        part = form.part(stored.id if stored else secrets.token_hex(6))
        try:
            save_rule(actor=actor, edits=form.cleaned_data["edits"], rule=part)
        except (PolicyRefused, StalePolicy) as refusal:
            error = refusal
        else:
            sentence = part.sentence(names_for(actor, (part,)))
            wrong = problems_of(policies().draft_parts, actor).get(part.id, ())
            notice = " ".join([f"“{part.name}” is in the draft: {sentence}", *wrong])
            return redirect_with_notice(request, notice, "policy")
    kept = ""
    if isinstance(error, StalePolicy):
        # It can be sent again, over what the draft is now.
        form.show("edits", edits)
        if stored:
            reads = described(stored, names_for(actor, (stored,)))
            kept = f"In the draft it now reads: “{reads}”"
    context = {
        "form": form,
        "title": stored.name if stored else form.title,
        "above": ("Policy", "policy"),
        "kept": kept,
        "has_draft": bool(now.draft),
    }
    return answer(request, "policy/edit.html", context, error, form=form)


@require_get_or_post
def activate(request: DeskRequest) -> HttpResponse:
    """Show what the draft changes, and what it would have done to past messages. On
    POST, activate it.
    """
    actor = admin_or_403(request)
    form = ActivateForm(request.POST if request.method == "POST" else None)
    error: SentenceError | None = None
    if form.is_valid():
        if not is_recently_authenticated(request):
            return ask_first(request)
        try:
            draft = activate_draft(actor=actor, **form.cleaned_data)
        except (PolicyRefused, StalePolicy) as refusal:
            error = refusal
        else:
            notice = f"Version {draft.number} is active. Messages are decided by it from now on."
            return redirect_with_notice(request, notice, "policy")
    now = policies()
    if now.draft is None:
        missing = StalePolicy("There is no draft to activate.")
        return answer_policy(request, error=error or missing)
    context = {
        **of_draft(now, actor),
        "tried": rehearse(
            before=now.active_parts,
            after=now.draft_parts,
            actor=actor,
            now=timezone.now(),
        ),
        "form": form,
    }
    return answer(request, "policy/rules/activate.html", context, error, form=form)


@require_safe
def version(request: DeskRequest, policy_number: int) -> HttpResponse:
    """Show the rules and passes of one version, and what it changed."""
    actor = request.actor
    versions = PolicyVersion.objects.activated()
    shown = first_or_404(
        versions.filter(number=policy_number), "There is no such version of the policy."
    )
    older = versions.filter(number__lt=policy_number).first()
    parts = visible_parts(actor, parts_in(shown))
    before = visible_parts(actor, parts_in(older)) if older else ()
    names = names_for(actor, (*before, *parts))
    context = {
        "version": shown,
        "lines": lines_of(parts, names),
        "changed": differences(before, parts, names),
        "may_change": actor.is_admin_of_all,
        "has_draft": PolicyVersion.objects.draft().exists(),
    }
    return render(request, "policy/rules/version.html", context)
