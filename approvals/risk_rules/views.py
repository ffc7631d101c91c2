"""The published rules: what each counts and found lately, and the form by which an
admin weighs one.
"""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.db.models import Count, Func
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from approvals.decisions.status import shown_status
from approvals.models import Review, RuleWeight
from approvals.queue.filters import Filters, read_position
from approvals.queue.querysets import position_at, queue_messages
from approvals.risk_rules.weighing import lately, weigh
from common.forms import SentenceForm
from common.pages import DeskRequest, redirect_with_notice
from mirror.errors import ActNotAllowed
from people.models import PendingChange
from risk import RULES, Rule, restored
from risk.score import level_of, points_of


class RuleForm(SentenceForm):
    """What a risk rule shall count, or that it shall count as it was published."""

    points = forms.IntegerField(
        min_value=0,
        max_value=100,
        required=False,
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"),
            "Give it 0 to 100 points, in whole numbers.",
        ),
    )
    as_published = forms.BooleanField(required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("as_published"):
            self.errors.pop("points", None)
        elif cleaned.get("points") is None and "points" not in self.errors:
            self.add_error("points", "Give it 0 to 100 points, in whole numbers.")
        return cleaned

    def wanted(self) -> int | None:
        """Return the points, None for the published ones."""
        return (
            None if self.cleaned_data["as_published"] else self.cleaned_data["points"]
        )


# How many messages are counted at most, so that the cost does not grow with traffic.
MOST = 100_000


PAGE = 50


@dataclass(frozen=True)
class WeighedRule:
    """A published rule with what it counts here."""

    rule: Rule
    weight: RuleWeight | None
    hits: int = 0

    @property
    def points(self) -> int:
        """What a finding of it counts, by an admin's points or as published."""
        if self.weight is None or self.weight.points is None:
            return self.rule.points
        return self.weight.points

    @property
    def is_as_published(self) -> bool:
        """Whether it counts as it was published."""
        return self.points == self.rule.points

    @property
    def level(self) -> str:
        """What one finding of it alone makes of a message."""
        return level_of(self.points)


@require_safe
def findings(request: DeskRequest) -> HttpResponse:
    """List the rules in their order of weight, with how often each saw something in the
    last 30 days.
    """
    weights = RuleWeight.objects.select_related("changed_by").in_bulk(field_name="rule")
    # How many messages have a finding of each rule, by one scan (relies on
    # message_changed).
    newest = lately(queue_messages().visible_to(request.actor)).in_order("newest")
    by_rule = Review.objects.filter(pk__in=newest.values("pk")[:MOST]).values(
        rule=Func("rules", function="unnest")
    )
    hits = dict(by_rule.annotate(number=Count("*")).values_list("rule", "number"))
    rules = [
        WeighedRule(rule, weights.get(rule.name), hits.get(rule.name, 0))
        for rule in RULES.values()
    ]
    rules.sort(key=lambda one: -one.points)
    return render(
        request,
        "approvals/risk_rules/rules.html",
        {"rules": rules, "may_weigh": request.actor.is_admin_of_all},
    )


@require_safe
def rule(request: DeskRequest, rule: str) -> HttpResponse:
    """Show one rule, and the messages with findings of it."""
    return _answer(request, _published(rule))


@require_POST
def weigh_rule(request: DeskRequest, rule: str) -> HttpResponse:
    """Set a rule's points, or reset them to the published ones."""
    actor = request.actor
    published = _published(rule)
    form = RuleForm(request.POST)
    if not actor.is_admin_of_all:
        return _answer(
            request,
            published,
            status=403,
            error="Only an admin of all mailboxes can change the points.",
        )
    if not form.is_valid():
        return _answer(
            request,
            published,
            status=422,
            error=form.first_error(),
            typed=request.POST.get("points", ""),
        )
    try:
        weight = weigh(rule=rule, points=form.wanted(), actor=actor)
    except ActNotAllowed as error:
        return _answer(request, published, status=403, error=error.sentence)
    counts = published.points if weight.points is None else weight.points
    notice = f"“{published.words.capitalize()}” now counts {counts}. Held messages are scored again in the background."
    return redirect_with_notice(request, notice, "rule", rule=rule)


def _published(name: str) -> Rule:
    found = RULES.get(name)
    if found is None:
        raise Http404("No rule of this name is published.")
    return found


def _answer(
    request: DeskRequest,
    published: Rule,
    *,
    status: int = 200,
    error: str = "",
    typed: str | None = None,
) -> HttpResponse:
    actor = request.actor
    weight = (
        RuleWeight.objects.filter(rule=published.name)
        .select_related("changed_by")
        .first()
    )
    weighed = WeighedRule(published, weight)
    after = read_position(request.GET.get("after", ""), order="newest")
    # Newest first (relies on review_rules).
    visible = queue_messages().visible_to(actor)
    rows = lately(visible.matching(Filters(rule=published.name))).in_order("newest")
    rows = rows.following("newest", after).for_list().defer("revision__content")
    found = list(rows[: PAGE + 1])
    hits = []
    for message in found[:PAGE]:
        # With its status, its worst finding of the rule, and what that counts.
        stored = message.revision.findings if message.revision else []
        own = [restored(one) for one in stored if one.get("rule") == published.name]
        worst = max(own, key=lambda one: points_of(one, {}), default=None)
        counts = points_of(worst, {published.name: weighed.points}) if worst else 0
        hits.append((message, shown_status(message), worst, counts))
    next_after = ""
    if len(found) > PAGE:
        next_after = str(position_at(found[PAGE - 1], "newest"))
    context: dict[str, Any] = {
        "one": weighed,
        "hits": hits,
        "is_first_page": after is None,
        "next_after": next_after,
        "may_weigh": actor.is_admin_of_all,
        "waiting_changes": PendingChange.objects.visible_to(actor).at(
            "rule", published.name
        ),
        "error": error,
        "typed": weighed.points if typed is None else typed,
    }
    return render(request, "approvals/risk_rules/rule.html", context, status=status)
