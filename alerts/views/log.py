"""The pages of the log: all deliveries with filters, one delivery, and the button that
sends deliveries again that were given up.
"""

from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from alerts.deliveries.resending import MAX_AGAIN, resend
from alerts.destinations.commands import check_may_manage
from alerts.destinations.forms import LogForm
from alerts.models import Delivery
from common.pages import DeskRequest, first_or_404, redirect_with_notice

# How many deliveries one page shows.
PAGE = 50


@require_safe
def log(request: DeskRequest) -> HttpResponse:
    """Show the deliveries, newest first."""
    form = LogForm(request.GET)
    filters = form.filters()
    deliveries = list(Delivery.objects.for_log(request.actor, filters)[: PAGE + 1])
    shown = deliveries[:PAGE]
    context = {
        "deliveries": shown,
        "filters": filters,
        "older": shown[-1].pk if len(deliveries) > PAGE else None,
        "form": form,
        "may_manage": request.actor.is_admin_of_all,
        "max_again": MAX_AGAIN,
    }
    return render(request, "alerts/log.html", context)


@require_safe
def one(request: DeskRequest, alert_id: int) -> HttpResponse:
    """Show one delivery. People who may manage destinations also see the request and
    the answer.
    """
    may_manage = request.actor.is_admin_of_all
    deliveries = Delivery.objects.for_list(request.actor)
    if may_manage:
        deliveries = deliveries.defer(None)
    delivery = first_or_404(
        deliveries.filter(pk=alert_id), "There is no such delivery."
    )
    context = {"one": delivery, "may_manage": may_manage}
    return render(request, "alerts/alert.html", context)


@require_POST
def again(request: DeskRequest, alert_id: int | None = None) -> HttpResponse:
    """Send deliveries again that were given up: one, or the oldest that match the
    filters.
    """
    check_may_manage(request.actor)
    filters = LogForm(request.POST).filters()
    selection = filters if alert_id is None else {"pk": alert_id}
    count = resend(Delivery.objects.for_log(request.actor, selection), request.actor)
    notice = f"{count} sent again."
    if not count:
        notice = "Nothing can be sent again: it did not fail, or its destination is switched off."
    return redirect_with_notice(
        request, notice, f"{reverse('alert-log')}?{urlencode(filters)}"
    )
