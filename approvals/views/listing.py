"""The queue as a list: tabs with counts, fifty rows a page, and the same for scripts."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Count, Max
from django.http import HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import condition, require_safe

from approvals.attention import attention_count
from approvals.forms import TABS, PulseForm, QueueForm
from approvals.freshness import freshness_for
from approvals.models import Decision, Message
from approvals.querysets import MessageQuerySet
from approvals.risk import Finding, risk_level, risk_words
from approvals.standing import shown_status
from approvals.status import Status
from approvals.views.pane import Expiry, expiry_of
from common.pages import DeskRequest, page_or_fragment
from people.actors import Actor
from policy.models import KillSwitch

PAGE = 50
COUNTED = 1000


@dataclass(frozen=True)
class Row:
    """One line of the list, ready to show."""

    message: Message
    status: Status
    level: str
    words: tuple[str, ...]
    decision: Decision | None
    expiry: Expiry | None


@login_required
@require_safe
def queue(request: DeskRequest) -> HttpResponse:
    """Show the queue, oldest first, without a message beside it."""
    tab, after = QueueForm(request.GET).place()
    actor: Actor = request.actor
    if request.GET.get("format") == "json":
        found = _page_of(actor, tab, after)
        shown = [_as_json(message) for message in found[:PAGE]]
        return JsonResponse({"messages": shown, "next_after": _place_of_next(found, tab)})
    context = queue_context(actor, tab=tab, after=after, now=timezone.now())
    return page_or_fragment(request, page="approvals/queue.html", fragment="approvals/_list.html", context=context)


def _pulse_of(request: DeskRequest) -> str:
    actor: Actor = request.actor
    newest = Message.objects.visible_to(actor).order_by("-changed_at").values_list("changed_at", "pk").first()
    # A verdict does not touch its message's row, but it changes what waits.
    decided = Decision.objects.live().aggregate(number=Count("pk"), newest=Max("changed_at"))
    stopped = list(KillSwitch.objects.visible_to(actor).values_list("pk", flat=True))
    standing = freshness_for(actor)
    told = f"{newest}{decided}{stopped}{standing.level}{standing.reason}{_open_message(request)}{_half_minute()}"
    return f'"{hashlib.sha256(told.encode()).hexdigest()[:32]}"'


def _open_message(request: DeskRequest) -> dict[str, str] | None:
    """Return how the message on the page is by now: a page without a stream learns here that it changed."""
    wanted = PulseForm(request.GET).open_message()
    if wanted is None:
        return None
    message: Message | None = Message.objects.visible_to(request.actor).for_list().filter(public_id=wanted).first()
    if message is None:
        return None
    status = shown_status(message)
    fingerprint = message.revision.fingerprint if message.revision else ""
    return {"id": str(wanted), "fingerprint": fingerprint, "word": status.word, "detail": status.detail}


def _half_minute() -> int:
    return int(timezone.now().timestamp() // 30)


@login_required
@require_safe
@condition(etag_func=_pulse_of)
def pulse(request: DeskRequest) -> HttpResponse:
    """Say in a few bytes what waits, for pages whose live stream is not open; unchanged is a 304."""
    actor: Actor = request.actor
    waiting = Message.objects.visible_to(actor).awaiting_review()
    freshness = freshness_for(actor)
    return JsonResponse(
        {
            "waiting": waiting[: COUNTED + 1].count(),
            "newest": _newest(waiting),
            "open": _open_message(request),
            "stuck": attention_count(actor),
            "stopped": [switch.pk for switch in KillSwitch.objects.visible_to(actor)],
            "freshness": {"level": freshness.level, "as_of": freshness.as_of, "reason": freshness.reason},
        }
    )


def _newest(waiting: MessageQuerySet) -> list[str]:
    """Return the ids of the last that came, by which an open page tells what it does not show yet."""
    newest = waiting.order_by("-held_at", "-pk").values_list("public_id", flat=True)[:20]
    return [str(public_id) for public_id in newest]


def queue_context(actor: Actor, *, tab: str, after: tuple[datetime, int] | None, now: datetime) -> dict[str, Any]:
    """Return what the list shows; the message page shows the same list beside the message."""
    messages = _page_of(actor, tab, after)
    rows = [_row(message) for message in messages[:PAGE]]
    visible = Message.objects.visible_to(actor)
    shows_oldest = tab == "waiting" and after is None
    oldest = next(iter(messages), None) if shows_oldest else visible.awaiting_review().oldest_first().first()
    counts = {key: _count(_in_tab(actor, key)) if key != "done" else None for key in TABS}
    last_decision = None
    if not rows and tab == "waiting":
        decisions = Decision.objects.filter(message__in=visible).select_related("given_by", "message")
        last_decision = decisions.order_by("-pk").first()
    return {
        "tab": tab,
        "tab_label": TABS[tab],
        "tabs": [(key, label, counts[key]) for key, label in TABS.items()],
        "waiting": counts["waiting"],
        "oldest": oldest,
        "newest": _newest(visible.awaiting_review()),
        "rows": rows,
        "is_first_page": after is None,
        "next_after": _place_of_next(messages, tab),
        "last_decision": last_decision,
        "now": now,
    }


def _in_tab(actor: Actor, tab: str) -> MessageQuerySet:
    visible = Message.objects.visible_to(actor)
    return {
        "waiting": visible.awaiting_review,
        "leaving": visible.leaving,
        "unknown": visible.in_doubt,
        "failed": visible.failed,
        "done": visible.decided,
    }[tab]()


def _page_of(actor: Actor, tab: str, after: tuple[datetime, int] | None) -> list[Message]:
    """Return the rows of a page and one more, which tells that there is a next page."""
    messages = _in_tab(actor, tab).for_list()
    if tab in ("done", "failed"):
        return list((messages.changed_before(after) if after else messages).newest_first()[: PAGE + 1])
    return list((messages.held_after(after) if after else messages).oldest_first()[: PAGE + 1])


def _place_of_next(messages: list[Message], tab: str) -> str:
    """Return where the next page begins, which `after` takes; empty on the last one."""
    return _place(messages[PAGE - 1], tab) if len(messages) > PAGE else ""


def _place(message: Message, tab: str) -> str:
    at = message.changed_at if tab in ("done", "failed") else message.held_at
    return f"{int(at.timestamp() * 1_000_000)}-{message.pk}"


def _count(messages: MessageQuerySet) -> str:
    """Return a count that stops at a thousand, so that it costs the same at any length of the queue."""
    found = messages.order_by()[: COUNTED + 1].count()
    return f"{COUNTED}+" if found > COUNTED else str(found)


def _row(message: Message) -> Row:
    decision = message.latest_decision
    stored = message.revision.findings if message.revision else []
    findings = [Finding(**one) for one in stored]
    expiry = expiry_of(message, now=timezone.now())
    return Row(message, shown_status(message), risk_level(findings), risk_words(findings), decision, expiry)


def _as_json(message: Message) -> dict[str, Any]:
    return {
        "id": str(message.public_id),
        "upstream_id": message.upstream_id,
        "fingerprint": message.revision.fingerprint if message.revision else None,
        "state": message.state,
        "subject": message.subject,
        "decision": message.latest_decision.state if message.latest_decision else None,
    }


@login_required
@require_safe
def history(request: DeskRequest) -> HttpResponse:
    """Show what is past the desk, newest first."""
    _, after = QueueForm(request.GET).place()
    actor: Actor = request.actor
    messages = _page_of(actor, "done", after)
    context = {
        "rows": [_row(message) for message in messages[:PAGE]],
        "is_first_page": after is None,
        "next_after": _place_of_next(messages, "done"),
    }
    return page_or_fragment(request, page="approvals/history.html", fragment="approvals/_history.html", context=context)
