"""The layout's context on every page: waiting messages, how complete the queue is, what is stuck or stopped."""

from functools import lru_cache
from typing import Any

from django.conf import settings
from django.contrib.messages import get_messages
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from alerts.destinations.commands import may_manage
from alerts.models import Destination
from approvals.collaboration.comments import asked_of
from approvals.operations.attention import attention_part
from approvals.practice.setting import concerns, to_confirm_part
from approvals.querysets.messages import desk_messages
from common.disk import is_full
from common.postgres.statements import ValueQuery, any_of, count_of, read_values
from dashboard.first_run.views import reminder
from dashboard.health.heartbeat import silent_jobs
from dashboard.live.views import live_origin
from mirror.querysets.messages import anybody_like, asked_by
from mirror.sync.health import freshness_for
from people.actors import Actor, Role, Scope
from people.models import PendingChange
from people.second_admin.person_figures import shows_people
from policy.models import KillSwitch

NO_CHANGES = ValueQuery("0")


def desk(request: HttpRequest) -> dict[str, Any]:
    """Return the layout's values. They are lazy, so that only pages that show them run queries."""
    actor = getattr(request, "actor", None)
    if actor is None or actor.kind != "person":
        return {"live_url": ""}
    counts = SimpleLazyObject(lambda: read_values(_counts(anybody_like(actor)), asked_by(actor)))
    state = SimpleLazyObject(
        lambda: read_values(
            {
                "stuck": attention_part(actor),
                "stops": _any_switch(anybody_like(actor)),
                "practice": to_confirm_part() if actor.has(Role.REVIEWER) else NO_CHANGES,
                "changes": _pending(actor.scopes) if actor.looks_after_policy else NO_CHANGES,
            },
            asked_by(actor),
        )
    )
    return {
        "actor": actor,
        "live_url": settings.LIVE_URL or f"{live_origin(request)}/live/",
        "desk_waiting": SimpleLazyObject(lambda: _counted(counts["waiting"])),
        "desk_asked": SimpleLazyObject(lambda: counts["asked"]),
        "desk_practice": SimpleLazyObject(lambda: state["practice"]),
        # Only the page of one's account shows these two.
        "desk_has_practice": SimpleLazyObject(lambda: concerns(int(actor.id))),
        "desk_shows_people": SimpleLazyObject(shows_people),
        "desk_freshness": SimpleLazyObject(lambda: freshness_for(actor)),
        "desk_stuck": SimpleLazyObject(lambda: state["stuck"]),
        "desk_changes": SimpleLazyObject(lambda: _counted(state["changes"])),
        # Nearly always none is pulled, which costs little to ask.
        "desk_switches": SimpleLazyObject(lambda: list(KillSwitch.objects.visible_to(actor)) if state["stops"] else []),
        "desk_is_full": is_full(settings.DATA_DIR),
        "desk_silence": SimpleLazyObject(silent_jobs),
        "desk_setup": SimpleLazyObject(lambda: reminder(request)),
        "desk_mute": SimpleLazyObject(lambda: list(Destination.objects.switched_off())),
        "desk_alerting": SimpleLazyObject(lambda: may_manage(actor)),
        "desk_notices": SimpleLazyObject(lambda: [one for one in get_messages(request) if "desk" in one.tags]),
    }


@lru_cache(maxsize=256)
def _counts(anybody: Actor) -> dict[str, ValueQuery]:
    return {"waiting": count_of(desk_messages().waiting_for(anybody)), "asked": asked_of(anybody)}


@lru_cache(maxsize=256)
def _pending(scopes: tuple[Scope, ...]) -> ValueQuery:
    actor = Actor(kind="person", id="", label="", surface="", scopes=scopes)
    return count_of(PendingChange.objects.for_admin(actor))


@lru_cache(maxsize=256)
def _any_switch(anybody: Actor) -> ValueQuery:
    return any_of(KillSwitch.objects.visible_to(anybody))


def _counted(number: int) -> str:
    """Format a count that is limited to a thousand; empty for zero."""
    return "1000+" if number > 1000 else str(number or "")
