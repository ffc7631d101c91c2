"""What the frame around every page of the desk shows: what waits, how complete it is, what is stuck or stopped."""

from typing import Any

from django.conf import settings
from django.contrib.messages import get_messages
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from alerts.models import Destination
from alerts.places.rights import may_manage
from approvals.models import Message
from approvals.operating.attention import attention_count
from approvals.sync.freshness import freshness_for
from approvals.views.people_at import asked_count
from dashboard.beats import silences
from dashboard.first_run import reminder
from dashboard.middleware import live_origin
from policy.models import KillSwitch


def desk(request: HttpRequest) -> dict[str, Any]:
    """Return the frame's values; they cost a query only on pages that show them."""
    actor = getattr(request, "actor", None)
    if actor is None or actor.kind != "person":
        return {"live_url": ""}
    return {
        "actor": actor,
        "live_url": settings.LIVE_URL or f"{live_origin(request)}/live/",
        "desk_waiting": SimpleLazyObject(lambda: _counted(Message.objects.waiting_for(actor)[:1001].count())),
        "desk_asked": SimpleLazyObject(lambda: asked_count(actor)),
        "desk_freshness": SimpleLazyObject(lambda: freshness_for(actor)),
        "desk_stuck": SimpleLazyObject(lambda: attention_count(actor)),
        "desk_switches": SimpleLazyObject(lambda: list(KillSwitch.objects.visible_to(actor))),
        "desk_silence": SimpleLazyObject(silences),
        "desk_setup": SimpleLazyObject(lambda: reminder(request)),
        "desk_mute": SimpleLazyObject(lambda: list(Destination.objects.switched_off())),
        "desk_alerting": SimpleLazyObject(lambda: may_manage(actor)),
        "desk_notices": SimpleLazyObject(lambda: [one for one in get_messages(request) if "desk" in one.tags]),
    }


def _counted(number: int) -> str:
    """Return a count that stops at a thousand as people see it, and nothing for none."""
    return "1000+" if number > 1000 else str(number or "")
