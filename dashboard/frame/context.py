"""The context processor for the layout of every page: how many messages wait, how
complete the queue is, and what is stuck or stopped.
"""

from typing import Any

from django.conf import settings
from django.contrib.messages import get_messages
from django.db.models.query import QuerySet
from django.utils.functional import SimpleLazyObject

from alerts.models import Destination
from approvals.desk_messages import desk_messages
from approvals.operations.attention import recent_attention_count
from approvals.queue.views import filters_of
from common.counts import count_of, counted
from common.disk import is_full
from common.pages import DeskRequest
from common.version import product_build
from dashboard.first_run import reminder
from dashboard.health.checks import standstills
from dashboard.live.views import live_origin
from mirror.sync.health import freshness_for
from notices.models import unread_count
from people.models import PendingChange
from policy.models import KillSwitch


def desk(request: DeskRequest) -> dict[str, Any]:
    """Return the values that the layout shows. Most are lazy, so that only pages that
    show a value query for it.
    """
    actor = getattr(request, "actor", None)
    if actor is None or actor.kind != "person":
        return {"live_url": ""}
    return {
        "actor": actor,
        "product_build": product_build(),
        "live_url": settings.LIVE_URL or f"{live_origin(request)}/live/",
        # For links to the queue and its messages, so that the list stays filtered.
        "queue_query": SimpleLazyObject(lambda: filters_of(request).suffix),
        "desk_waiting": SimpleLazyObject(
            lambda: _count(desk_messages().waiting_for(actor))
        ),
        "unread_notices": SimpleLazyObject(lambda: unread_count(actor)),
        "desk_freshness": SimpleLazyObject(lambda: freshness_for(actor)),
        "desk_stuck": SimpleLazyObject(lambda: recent_attention_count(actor)),
        "desk_changes": SimpleLazyObject(
            lambda: _count(PendingChange.objects.for_admin(actor))
        ),
        # Nearly always none is pulled, and the first query, which finds that out, is
        # cheap.
        "desk_switches": SimpleLazyObject(
            lambda: (
                list(KillSwitch.objects.visible_to(actor))
                if KillSwitch.objects.pulled().exists()
                else []
            )
        ),
        "desk_is_full": is_full(settings.DATA_DIR),
        "desk_silence": SimpleLazyObject(standstills),
        "desk_setup": SimpleLazyObject(lambda: reminder(request)),
        "desk_mute": SimpleLazyObject(lambda: list(Destination.objects.switched_off())),
        "desk_notices": SimpleLazyObject(
            lambda: [one for one in get_messages(request) if "desk" in one.tags]
        ),
    }


def _count(rows: QuerySet[Any, Any]) -> str:
    """Return a number of rows for the sidebar, which shows nothing for zero."""
    return counted(number) if (number := count_of(rows)) else ""
