"""Answers the regular requests ("pulse") of open pages that have no live stream: how
many messages wait, who has claimed which, and whether the message on the page has
changed. The ETag changes when any of that changes, so mostly the answer is 304.
"""

import hashlib
from collections.abc import Callable

from django.core.cache import caches
from django.db.models import Count, Max
from django.http import HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.template.loader import render_to_string
from django.utils import timezone
from django.views.decorators.http import condition, require_safe

from approvals.collaboration import touch_claim
from approvals.decisions.status import shown_status
from approvals.desk_messages import desk_messages, shown_message
from approvals.models import Claim, Decision
from approvals.queue.filters import MessageForm
from approvals.queue.views import tab_counts, waiting_of
from common.actors import Actor
from common.counts import COUNTED, counted
from common.pages import DeskRequest
from mirror.models import Message
from mirror.sync.health import freshness_for
from mirror.threads import conversation_of
from policy.models import KillSwitch

# What upper apps number on every page, by name: pages ask again once it changes.
MORE: dict[str, Callable[[Actor], int]] = {}
# Seconds for which the exact count is cached.
COUNT_SECONDS = 3
# How many claims an answer contains at most. Usually there are about as many claims as
# people at work.
MOST_CLAIMS = 200


def _pulse_of(request: DeskRequest) -> str:
    # The ETag: a hash over everything that `pulse` tells.
    actor = request.actor
    newest = (
        Message.objects.visible_to(actor)
        .order_by("-changed_at")
        .values_list("changed_at", "pk")
        .first()
    )
    # A decision does not change its message's row, but the message waits no longer.
    decided = Decision.objects.live().aggregate(
        number=Count("pk"), newest=Max("changed_at")
    )
    stopped = list(KillSwitch.objects.visible_to(actor).values_list("pk", flat=True))
    freshness = freshness_for(actor)
    opened = _state_of(_open_message(request))
    # It changes every half minute at least.
    half_minute = timezone.now().timestamp() // 30
    more = [number_for(actor) for number_for in MORE.values()]
    state = f"{newest}{decided}{stopped}{freshness.level}{freshness.reason}{opened}{half_minute}"
    state += f"{_holders(actor)}{desk_messages().mine_stamp(actor)}{more}"
    return f'"{hashlib.sha256(state.encode()).hexdigest()[:32]}"'


def _open_message(request: DeskRequest) -> Message | None:
    """Return the message that the page shows, if any, and if the actor may see it."""
    public_id = MessageForm(request.GET).value("open")
    return None if public_id is None else shown_message(request.actor, public_id)


def _state_of(message: Message | None) -> dict[str, str] | None:
    """Return what the page shows of its message's status. A page that shows something
    else knows that the message has changed.
    """
    if message is None:
        return None
    return {
        "id": str(message.public_id),
        "fingerprint": message.fingerprint,
        "code": shown_status(message).code,
        # The newest message of the thread that came after this draft. The page has it
        # in data-late.
        "late": str(conversation_of(message).late_id),
    }


def _holders(actor: Actor) -> dict[str, str]:
    """Return the claims that the actor may see: by a message's public id, the key of
    the person who has it.
    """
    # Without assignments: they last for hours and may be many. Pages show them when
    # they are loaded.
    claims = Claim.objects.live().filter(is_assigned=False).visible_to(actor)
    holders = claims.values_list("message__public_id", "person")[:MOST_CLAIMS]
    return {str(message): str(person) for message, person in holders}


@require_safe
@condition(etag_func=_pulse_of)
def pulse(request: DeskRequest) -> HttpResponse:
    """Return as JSON what may have changed on an open page; 304 if nothing has."""
    actor = request.actor
    message = _open_message(request)
    if message is not None:
        # Reached often enough to keep a claim alive: visible pages ask at least every
        # forty seconds, and the ETag changes every half minute.
        touch_claim(message, actor)
    waiting = waiting_of(actor)
    tabs = tab_counts(actor, waiting=waiting.number)
    number = waiting.number
    if number > COUNTED:
        # The exact number. Counting takes longer for a longer queue.
        key = f"waiting-{actor.id}-{hash(actor.scopes)}"
        exact = caches["process"].get_or_set(
            key, lambda: desk_messages().count_waiting_for(actor), COUNT_SECONDS
        )
        number = exact or 0
    shown = f"{number:,}"
    drawn = {
        "waiting": shown,
        "oldest": waiting.oldest,
        "tabs": {tab: counted(some) for tab, some in tabs.items()} | {"waiting": shown},
    }
    return JsonResponse(
        {
            # For a page whose session has ended and begun again in another tab.
            "me": actor.id,
            "token": get_token(request),
            "waiting": shown,
            "html": render_to_string("approvals/queue/_pulse.html", drawn, request),
            "newest": waiting.newest,
            "holders": _holders(actor),
            "open": _state_of(message),
        }
    )
