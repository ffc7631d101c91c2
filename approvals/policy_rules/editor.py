"""The editor of one rule of the draft, and the buttons that move, copy, switch and
delete one.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

from django import forms
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_POST

from approvals.policy_rules.rule_form import RuleForm, offered_to, typed_of
from approvals.policy_rules.views import (
    SeenForm,
    admin_or_403,
    answer_policy,
    problems_of,
)
from common.pages import DeskRequest, redirect_with_notice
from policy.errors import PolicyRefused, StalePolicy
from policy.rules.changes import (
    Policies,
    arrange_rules,
    new_rule_id,
    policies,
    save_rule,
)
from policy.rules.drafts import ACTS, find, with_rule
from policy.rules.names import names_for
from policy.rules.rules import PolicyRule, as_sentence

_DONE = {
    "up": "is moved up.",
    "down": "is moved down.",
    "copy": "is copied. The copy is off.",
    "off": "is switched off.",
    "on": "is switched on.",
    "delete": "is deleted from the draft.",
}


class ArrangeForm(SeenForm):
    """What one of the buttons beside a rule does."""

    act = forms.ChoiceField(
        choices=list(ACTS.items()),
        error_messages={"required": "Press one of the buttons."},
    )


@require_http_methods(["GET", "HEAD", "POST"])
def add_rule(request: DeskRequest) -> HttpResponse:
    """Show the form for a new rule of the draft; preview what was typed, or save it."""
    admin_or_403(request)
    return _Editor(request, policies(), None).answer()


@require_http_methods(["GET", "HEAD", "POST"])
def edit_rule(request: DeskRequest, policy_rule: str) -> HttpResponse:
    """Show the form of one rule of the draft; preview what was typed, or save it."""
    admin_or_403(request)
    now = policies()
    rule = find(now.draft_rules, policy_rule)
    if rule is None and not (now.draft and request.method == "POST"):
        if now.draft is None and find(now.active_rules, policy_rule):
            return answer_policy(
                request, error="Begin a draft to change this rule.", status=409
            )
        raise Http404("There is no such rule in the draft.")
    return _Editor(request, now, rule, rule_id=policy_rule).answer()


@require_POST
def arrange(request: DeskRequest, policy_rule: str) -> HttpResponse:
    """Move, copy, switch or delete one rule of the draft."""
    actor = admin_or_403(request)
    form = ArrangeForm(request.POST)
    if not form.is_valid():
        return answer_policy(request, error=form.first_error(), status=422)
    act = form.cleaned_data["act"]
    rule = find(policies().draft_rules, policy_rule)
    try:
        arrange_rules(
            actor=actor, edits=form.cleaned_data["edits"], rule_id=policy_rule, act=act
        )
    except StalePolicy as error:
        return answer_policy(request, error=error.sentence, status=409)
    except PolicyRefused as error:
        return answer_policy(request, error=error.sentence, status=422)
    return redirect_with_notice(
        request, f"“{rule.name if rule else policy_rule}” {_DONE[act]}", "policy"
    )


class _Editor:
    """One request to the editor: of a stored rule, or of a new one."""

    def __init__(
        self,
        request: DeskRequest,
        now: Policies,
        rule: PolicyRule | None,
        rule_id: str = "",
    ) -> None:
        self.request = request
        self.now = now
        self.rule = rule
        self.rule_id = rule_id
        names = names_for(request.actor, (rule,) if rule else ())
        offered = offered_to(request.actor, rule, names)
        typed = request.POST if request.method == "POST" else None
        initial = {"owner": str(request.actor.id), "expire_unit": "60"}
        if rule:
            initial = typed_of(rule, offered["groups"])
        self.form = RuleForm(typed, offered=offered, stored=rule, initial=initial)

    def answer(self) -> HttpResponse:
        """Show the form, preview what was typed, or save what was previewed."""
        if self.request.method != "POST":
            if self.now.draft is None:
                return answer_policy(
                    self.request, error="Begin a draft first.", status=409
                )
            return self._page()
        if not self.form.is_valid():
            return self._page(status=422)
        rule = self.form.rule(rule_id=self.rule_id or "new")
        # Only what was previewed is saved.
        if self.request.POST.get("act") != "save" or self.form.cleaned_data[
            "previewed"
        ] != digest(rule):
            return self._page(preview=rule)
        seen = SeenForm(self.request.POST)
        if not seen.is_valid():
            return self._page(preview=rule, error=seen.first_error(), status=422)
        stored = rule if self.rule_id else replace(rule, id=new_rule_id())
        edits = seen.cleaned_data["edits"]
        try:
            draft = save_rule(actor=self.request.actor, edits=edits, rule=stored)
        except StalePolicy as error:
            return self._page(
                preview=rule, error=error.sentence, is_stale=True, status=409
            )
        except PolicyRefused as error:
            return self._page(preview=rule, error=error.sentence, status=422)
        notice = f"“{stored.name}” is saved in the draft, version {draft.number}."
        notices = (notice, *self._problems(stored))
        return redirect_with_notice(self.request, " ".join(notices), "policy")

    def _problems(self, rule: PolicyRule) -> Sequence[str]:
        rules = with_rule(self.now.draft_rules, rule)
        return problems_of(rules, self.request.actor).get(rule.id, ())

    def _page(
        self,
        *,
        preview: PolicyRule | None = None,
        error: str = "",
        is_stale: bool = False,
        status: int = 200,
    ) -> HttpResponse:
        if is_stale:
            self.now = policies()
        if self.now.draft is None and not error:
            error = "There is no draft any more: somebody activated or discarded it. Begin one to save this rule."
            status = 409
        # A form that was shown before somebody else's change must not become one that
        # was shown after it.
        edits = self.request.POST.get("edits", "")
        if is_stale or not edits.isdecimal():
            edits = str(self.now.draft.edits if self.now.draft else 0)
        context: dict[str, object] = {
            "rule": self.rule,
            "form": self.form,
            "edits": edits,
            "preview": preview,
            "is_stale": is_stale,
            "error": error,
            "has_draft": self.now.draft is not None,
        }
        # How the rule stands in the draft now.
        if is_stale and (rule := find(self.now.draft_rules, self.rule_id)):
            context["stored"] = f"{rule.name}: {self._sentence(rule)}"
        if preview:
            context["digest"] = digest(preview)
            context["sentence"] = self._sentence(preview)
            context["problems"] = self._problems(preview)
        return render(self.request, "policy/rules/rule.html", context, status=status)

    def _sentence(self, rule: PolicyRule) -> str:
        return as_sentence(rule, names_for(self.request.actor, (rule,)))


def digest(rule: PolicyRule) -> str:
    """Return what tells whether a rule is the one that was previewed."""
    return hashlib.sha256(
        json.dumps(rule.as_json(), sort_keys=True).encode()
    ).hexdigest()
