"""The log of deliveries, with filters, and sending again what was given up."""

import json
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from alerts.deliveries.resending import resend
from alerts.destinations.commands import may_manage as actor_may_manage
from alerts.destinations.forms import LogForm
from alerts.errors import NotResent
from alerts.models import Delivery, Destination
from alerts.views.destinations import managing
from common.pages import DeskRequest, first_or_404, redirect_with_notice

PAGE = 50
NO_SUCH = "There is no such delivery."
# The most that one request sends again, so that it cannot flood a channel.
MAX_AGAIN = 100


@require_safe
def log(request: DeskRequest) -> HttpResponse:
    """Show what was delivered, newest first, and the same for scripts."""
    filters = LogForm(request.GET).filters()
    deliveries = Delivery.objects.for_log(request.actor, filters).with_again()
    found = list(deliveries[: PAGE + 1])
    shown = found[:PAGE]
    older = _address(filters, before=shown[-1].pk) if len(found) > PAGE else ""
    if request.GET.get("format") == "json":
        following = f"{older}&format=json" if older else ""
        listed = [
            {
                "id": one.pk,
                "at": one.created_at.isoformat(),
                "destination": one.destination.name,
                "kind": one.kind,
                "action": one.action,
                "message_id": one.message.upstream_id if one.message else None,
                "state": one.state,
                "attempts": one.attempts,
                "status": one.response_status,
                "error": one.last_error,
            }
            for one in shown
        ]
        return JsonResponse({"deliveries": listed, "next": following})
    context = {
        "deliveries": shown,
        "filters": filters,
        "first": _address(filters, before=None) if "before" in filters else "",
        "older": older,
        "states": Delivery.State.choices,
        "kinds": Delivery.Kind.choices,
        "destinations": Destination.objects.not_removed().order_by("name", "pk"),
        "dead": Delivery.objects.dead_for(request.actor),
        "dead_address": _address({}, state="failed"),
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
    seen = Delivery.objects.for_list(request.actor)
    shown = seen.defer(None) if may_manage else seen
    found = first_or_404(shown.filter(pk=alert_id), NO_SUCH)
    context = {
        "one": found,
        "again": seen.filter(again_of=found),
        "request_sent": _readable(found.request) if may_manage else "",
        "answer": _readable(found.answer) if may_manage else "",
        "may_manage": may_manage,
    }
    return render(request, "alerts/alert.html", context)


@require_POST
@managing
def again(request: DeskRequest, alert_id: int) -> HttpResponse:
    """Send one delivery again."""
    first_or_404(Delivery.objects.for_list(request.actor).filter(pk=alert_id), NO_SUCH)
    try:
        resend(alert_id, request.actor)
    except NotResent as error:
        messages.error(request, error.sentence, extra_tags="desk")
    else:
        messages.info(request, "It is sent again.", extra_tags="desk")
    return redirect(_address(LogForm(request.POST).filters()))


@require_POST
@managing
def all_again(request: DeskRequest) -> HttpResponse:
    """Send deliveries that were given up again: the oldest MAX_AGAIN, each once."""
    filters = {**LogForm(request.POST).filters(), "state": "failed"}
    given_up = Delivery.objects.for_log(request.actor, filters).never_again()
    sent = 0
    error_sentence = ""
    keys = given_up.with_a_way().order_by("pk").values_list("pk", flat=True)
    for key in keys[:MAX_AGAIN]:
        try:
            resend(key, request.actor, unless_done=True)
        except NotResent as error:
            error_sentence = error.sentence
        else:
            sent += 1
    if not sent and not error_sentence:
        error_sentence = (
            "The destination is switched off."
            if given_up.exists()
            else "Nothing is left to send again."
        )
    count = f"{sent} sent again." if sent else ""
    return redirect_with_notice(
        request, f"{count} {error_sentence}".strip(), _address(filters)
    )


def _address(filters: dict[str, Any], **other: Any) -> str:
    asked = {name: value for name, value in {**filters, **other}.items() if value}
    return reverse("alert-log") + (f"?{urlencode(asked)}" if asked else "")


def _readable(text: str) -> str:
    """Return JSON as people read it, and anything else, or what was cut, as it is."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except ValueError:
        return text
