"""The page of the published rules for findings: what each looks for, and in how many
messages it found something lately.
"""

from datetime import timedelta

from django.db.models import Count, Func
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from approvals.models import Review
from common.pages import DeskRequest
from mirror.models import Message
from risk.rules import RULES

LATELY = timedelta(days=30)
# The most messages in which findings are counted, so that the page stays fast.
MOST = 100_000


@require_safe
def findings(request: DeskRequest) -> HttpResponse:
    """List the rules, each with the number of messages of the last 30 days in which it
    found something.
    """
    recent = Message.objects.visible_to(request.actor).held_since(
        timezone.now() - LATELY
    )
    newest = recent.order_by("-changed_at", "-pk").values("pk")[:MOST]
    by_rule = Review.objects.filter(pk__in=newest).values(
        rule=Func("rules", function="unnest")
    )
    hits = dict(by_rule.annotate(number=Count("*")).values_list("rule", "number"))
    rules = [(rule, hits.get(rule.name, 0)) for rule in RULES.values()]
    return render(request, "approvals/findings.html", {"rules": rules})
