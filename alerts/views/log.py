"""The log of deliveries, with filters, and sending again what was given up."""

from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from alerts.deliveries.resending import MAX_AGAIN, resend
from alerts.destinations.commands import may_manage as actor_may_manage
from alerts.destinations.forms import LogForm
from alerts.models import Delivery, Destination
from alerts.views.destinations import managing
from common.pages import DeskRequest, first_or_404, redirect_with_notice

PAGE = 50


@require_safe
def log(request: DeskRequest) -> HttpResponse:
    """Show what was delivered, newest first."""
    filters = LogForm(request.GET).filters()
    found = list(Delivery.objects.for_log(request.actor, filters)[: PAGE + 1])
    shown = found[:PAGE]
    older = ""
    if len(found) > PAGE:
        older = urlencode({**filters, "before": shown[-1].pk})
    context = {
        "deliveries": shown,
        "filters": filters,
        "older": older,
        "states": Delivery.State.choices,
        "destinations": Destination.objects.not_removed().order_by("name", "pk"),
        "may_manage": actor_may_manage(request.actor),
        "max_again": MAX_AGAIN,
    }
    return render(request, "alerts/log.html", context)


@require_safe
def one(request: DeskRequest, alert_id: int) -> HttpResponse:
    """Show one delivery; to who manages where alerts go, with what went out and what
    came back.
    """
    may_manage = actor_may_manage(request.actor)
    shown = Delivery.objects.for_list(request.actor)
    if may_manage:
        shown = shown.defer(None)
    found = first_or_404(shown.filter(pk=alert_id), "There is no such delivery.")
    context = {"one": found, "may_manage": may_manage}
    return render(request, "alerts/alert.html", context)


@require_POST
@managing
def again(request: DeskRequest, alert_id: int | None = None) -> HttpResponse:
    """Send again what was given up: one delivery, or the oldest that the filters ask
    for.
    """
    filters = LogForm(request.POST).filters()
    asked = filters if alert_id is None else {"pk": alert_id}
    count = resend(Delivery.objects.for_log(request.actor, asked), request.actor)
    notice = f"{count} sent again."
    if not count:
        notice = "Nothing can be sent again: it was not given up, or its destination is switched off."
    return redirect_with_notice(
        request, notice, f"{reverse('alert-log')}?{urlencode(filters)}"
    )
