"""Where alerts go and what was delivered."""

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from alerts.models import Delivery, Destination
from common.pages import DeskRequest


@login_required
@require_safe
def alerts(request: DeskRequest) -> HttpResponse:
    """Show the destinations with their state, and the newest deliveries with their answers."""
    deliveries = Delivery.objects.for_list(request.actor)[:50]
    return render(
        request,
        "alerts/alerts.html",
        {"destinations": Destination.objects.prefetch_related("routes").order_by("name"), "deliveries": deliveries},
    )
