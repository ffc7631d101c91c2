"""The queue as a list: filtered by its URL, fifty rows a page, as HTML or JSON;
and its filters saved under a name, for one person or for everybody.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from django.http import HttpResponse, JsonResponse, QueryDict
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from approvals.collaboration import count_asked_of, count_snoozed_by
from approvals.decisions.ruling import demands_for, policy_in_force
from approvals.desk_messages import desk_messages
from approvals.models import Decision, RuleWeight, SavedView, Verdict
from approvals.queue.filters import (
    GROUPS,
    ORDERS,
    RISKS,
    TABS,
    Filters,
    MessageForm,
    Position,
    read_filters,
)
from approvals.queue.querysets import (
    FLOOD,
    QueueQuerySet,
    position_at,
    queue_messages,
)
from approvals.queue.rows import (
    approvals_in_words,
    as_json,
    chips_of,
    note_people,
    notice_context,
    rows_of,
)
from audit.search import saved
from common.actors import Actor
from common.counts import COUNTED, count_of, counted
from common.pages import DeskRequest, page_or_fragment
from common.postgres import clock
from mirror.models import Mailbox, Message
from policy.rules.demand import Demand
from risk.rules import RULES

PAGE = 50
# What the fields of the search form offer.
_CHOICES = {"risks": RISKS, "rules": RULES.values()}
# The filters that no field of the search form has.
_GROUPS_OWN = ("started", "thread", "run", "alike", "standing")
# So many of the last that came are named to open pages.
NEWEST = 20


@dataclass(frozen=True)
class Waiting:
    """What waits for a person: how many, since when the oldest, and the ids of the last
    that came.

    By those an open page tells what it does not show yet.
    """

    number: int
    oldest: datetime | None
    newest: list[UUID]


@require_safe
def queue(request: DeskRequest) -> HttpResponse:
    """Show the queue without a message beside it."""
    actor = request.actor
    filters = filters_of(request)
    if request.GET.get("format") == "json":
        # Each message by itself: a script counts on it.
        found = page_of(actor, filters)
        answer = {
            "messages": [as_json(one) for one in found[:PAGE]],
            "next_after": str(_next_position(found, filters) or ""),
            "remarks": list(filters.remarks),
        }
        return JsonResponse(answer)
    context = queue_context(
        actor, filters=filters, now=timezone.now(), mailboxes=mailboxes_of(request)
    )
    context |= notice_context(actor, MessageForm(request.GET).value("decided"))
    return page_or_fragment(
        request,
        page="approvals/queue/queue.html",
        fragment="approvals/queue/_list.html",
        context=context,
    )


def filters_of(request: DeskRequest) -> Filters:
    """Return what the address of this page asks the queue for; the page of one message
    has the same address.
    """
    if not request.GET:
        return Filters()
    return read_filters(request.GET, mailboxes=mailboxes_of(request))


def mailboxes_of(request: DeskRequest) -> list[Mailbox]:
    """Return the mailboxes that the person may look into; asked for once a request."""
    known: list[Mailbox] | None = getattr(request, "desk_mailboxes", None)
    if known is None:
        known = list(
            Mailbox.objects.visible_to(request.actor).order_by("address", "pk")
        )
        request.desk_mailboxes = known  # type: ignore[attr-defined]
    return known


def queue_context(
    actor: Actor, *, filters: Filters, now: datetime, mailboxes: list[Mailbox]
) -> dict[str, Any]:
    """Return what the list shows; the message page shows the same list beside the
    message.
    """
    found = page_of(actor, filters, is_gathered=not filters.gathers_floods)
    # Mostly one page has all that waits, and nothing has to be counted.
    is_whole = filters.shows_all_waiting and len(found) <= PAGE
    waiting = waiting_among(found) if is_whole else waiting_of(actor)
    # By default only floods are gathered; most pages have none, so that is checked
    # first.
    if filters.gathers_floods and _has_flood(actor, filters, found):
        found = page_of(actor, filters, is_gathered=True)
    clock_now = clock()
    rows = rows_of(
        found[:PAGE],
        filters=filters,
        actor=actor,
        now=clock_now,
        weights=RuleWeight.objects.points_by_rule(),
        demands=_demands(actor, found[:PAGE], clock_now),
    )
    if filters.tab == "mine":
        note_people(rows, actor=actor)
    following = _next_position(found, filters)
    last_decision = None
    if not rows and filters.tab == "waiting" and not filters.narrows:
        # Nothing is left to decide.
        decisions = Decision.objects.visible_to(actor).order_by("-pk")
        last_decision = decisions.select_related("given_by", "message").first()
    return {
        **_numbers(actor, filters, waiting),
        **_elsewhere(filters),
        "filters": filters,
        "tab": filters.tab,
        "tab_label": TABS[filters.tab],
        "can_pick": filters.tab in ("waiting", "mine"),
        "explains": filters.order == "riskiest" and not filters.newest_first,
        "standing_query": Filters(tab="leaving", standing="yes").query(),
        "queue_query": filters.suffix,
        "rows": rows,
        "next_query": filters.query(after=following) if following else "",
        "chips": chips_of(filters, mailboxes),
        "mailboxes": mailboxes,
        "views": SavedView.objects.usable_by(actor).select_related("person"),
        "last_decision": last_decision,
        "now": now,
    }


def _demands(
    actor: Actor, messages: Sequence[Message], now: datetime
) -> dict[int, Demand]:
    """Return what the active policy asks of the held messages of a page; nothing is
    read where none is active.
    """
    in_force = policy_in_force(actor)
    if not in_force.policy.rules:
        return {}
    held = [one.pk for one in messages if one.is_held and one.revision_id]
    return demands_for(
        list(desk_messages().for_policy().filter(pk__in=held)),
        actor,
        now,
        in_force=in_force,
    )


def _numbers(actor: Actor, filters: Filters, waiting: Waiting) -> dict[str, Any]:
    """Return the numbers around the rows."""
    visible = desk_messages().visible_to(actor)
    tabs = tab_counts(actor, waiting=waiting.number)
    by_standing = count_of(visible.leaving_by_standing()) if tabs["leaving"] else 0
    found = {
        "waiting": counted(waiting.number),
        # The rail shows the same numbers; they are not read twice.
        "desk_waiting": _shown(waiting.number),
        "desk_asked": count_asked_of(actor),
        "oldest": waiting.oldest,
        "newest": waiting.newest,
        "snoozed": count_snoozed_by(actor),
        "apart": _shown(
            count_of(visible.set_apart()) if visible.ever_apart().exists() else 0
        ),
        "by_standing": _shown(by_standing),
        "tabs": [
            (
                tab,
                label,
                counted(tabs[tab]) if tab in tabs else "",
                filters.query(tab=tab),
            )
            for tab, label in TABS.items()
        ],
    }
    if filters.narrows:
        found["matching"] = counted(count_of(_asked_for(actor, filters)))
    if filters.searches:
        found["unsearched"] = count_of(
            queue_messages().of_tab(actor, filters.tab).unsearched()
        )
    return found


@lru_cache(maxsize=1000)
def _elsewhere(filters: Filters) -> Mapping[str, Any]:
    """Return the links to other orders, groups and tabs, and to the same list without
    filters.
    """
    orders = [(key, label, filters.query(order=key)) for key, label in ORDERS.items()]
    groups = [(key, label, filters.query(group=key)) for key, label in GROUPS.items()]
    other = "waiting" if filters.tab == "done" else "done"
    # The search form's hidden fields; the dates have none in the queue, only in the
    # history.
    sent_along = ("tab", "order", "group", *_GROUPS_OWN, "since", "until")
    carried = parse_qsl(filters.query(after=None))
    return {
        "orders": orders,
        "groups": groups,
        "order_label": "Newest first"
        if filters.newest_first
        else ORDERS[filters.order],
        "choices": _CHOICES,
        "carried": [(name, value) for name, value in carried if name in sent_along],
        "first_query": filters.query(after=None),
        "cleared_query": filters.cleared(),
        "elsewhere_query": filters.query(tab=other) if filters.searches else "",
    }


def _has_flood(actor: Actor, filters: Filters, found: Sequence[Message]) -> bool:
    """Whether any message of a page is one of a flood."""
    alike = Counter((one.shape, one.review.risk) for one in found if one.shape)
    if not alike:
        return False
    if filters.after is None and len(found) <= PAGE:
        return max(alike.values()) >= FLOOD
    return _asked_for(actor, replace(filters, after=None)).in_floods(found).exists()


def tab_counts(actor: Actor, *, waiting: int) -> dict[str, int]:
    """Return the number in each tab, up to a thousand and one. Decided messages only
    grow and need nobody: no count.
    """
    decisions = Decision.objects.visible_to(actor)
    visible = desk_messages().visible_to(actor)
    return {
        "waiting": waiting,
        "mine": count_of(desk_messages().of(actor)),
        "leaving": count_of(decisions.going()),
        "unknown": count_of(visible.in_doubt()) if decisions.in_doubt().exists() else 0,
        "failed": count_of(visible.failed()),
    }


def waiting_of(actor: Actor) -> Waiting:
    """Return what waits for a person."""
    waiting = desk_messages().waiting_for(actor)
    newest = waiting.order_by("-held_at", "-pk").values_list("public_id", flat=True)
    return Waiting(
        number=count_of(waiting),
        oldest=waiting.oldest_first().values_list("held_at", flat=True).first(),
        newest=list(newest[:NEWEST]),
    )


def waiting_among(messages: Sequence[Message]) -> Waiting:
    """Return the same where these are all that wait."""
    newest = sorted(messages, key=lambda one: (one.held_at, one.pk), reverse=True)
    return Waiting(
        number=len(messages),
        oldest=newest[-1].held_at if newest else None,
        newest=[one.public_id for one in newest[:NEWEST]],
    )


def _shown(number: int) -> str:
    return counted(number) if number else ""


def _asked_for(actor: Actor, filters: Filters) -> QueueQuerySet:
    return queue_messages().of_tab(actor, filters.tab).matching(filters)


def page_of(
    actor: Actor, filters: Filters, *, is_gathered: bool = False
) -> list[Message]:
    """Return the messages of a page, and one more, which shows that there is a next
    page.
    """
    messages = _asked_for(actor, filters)
    if is_gathered:
        messages = messages.gathered(filters)
    order = filters.row_order
    return list(
        messages.for_rows().following(order, filters.after).in_order(order)[: PAGE + 1]
    )


def _next_position(found: Sequence[Message], filters: Filters) -> Position | None:
    """Return where the next page begins; None on the last one."""
    if len(found) <= PAGE:
        return None
    return position_at(found[PAGE - 1], filters.row_order)


def next_in(actor: Actor, filters: Filters, message: Message) -> UUID | None:
    """Return the message to go on with: the next in this list, or its first when this
    was the last.
    """
    order = filters.row_order
    others = (
        _asked_for(actor, replace(filters, after=None))
        .exclude(pk=message.pk)
        .in_order(order)
    )
    following = others.following(order, position_at(message, order))
    found = following.values_list("public_id", flat=True).first()
    return found or others.values_list("public_id", flat=True).first()


@dataclass(frozen=True)
class Place:
    """A message's place in a list, in words, and the message to go on with."""

    number: str
    of: str
    following: UUID | None


def place_of(actor: Actor, filters: Filters, message: Message) -> Place:
    """Return where a message stands in this list; without numbers where it does not."""
    asked = _asked_for(actor, replace(filters, after=None))
    ordered = asked.in_order(filters.row_order).values_list("public_id", flat=True)
    keys = list(ordered[: COUNTED + 1])
    if message.public_id in keys:
        at = keys.index(message.public_id)
        others = keys[at + 1 :] or keys[:at]
        return Place(counted(at + 1), counted(len(keys)), others[0] if others else None)
    is_further = len(keys) > COUNTED and asked.filter(pk=message.pk).exists()
    number = counted(len(keys)) if is_further else ""
    return Place(number, number, next_in(actor, filters, message))


@require_safe
def history(request: DeskRequest) -> HttpResponse:
    """Show what was decided, newest first, page by page; searched and filtered as the
    queue is.
    """
    actor = request.actor
    mailboxes = mailboxes_of(request)
    asked = read_filters({**request.GET.dict(), "tab": "done"}, mailboxes=mailboxes)
    filters = replace(asked, order="oldest", group="")
    found = page_of(actor, filters)
    rows = rows_of(
        found[:PAGE], filters=filters, actor=actor, now=timezone.now(), weights={}
    )
    verdicts = list(Verdict.objects.given_on(found[:PAGE]))
    newest = {one.message_id: one.pk for one in verdicts}
    approved = approvals_in_words(verdicts)
    for row in rows:
        row.verdict = newest.get(row.message.pk)
        row.approved = approved.get(row.message.pk, "")
    # The page is a tab of its own, which its addresses need not name.
    here = replace(filters, tab="waiting")
    following = _next_position(found, filters)
    number = count_of(_asked_for(actor, filters)) if filters.narrows else 0
    context = {
        "rows": rows,
        "filters": filters,
        "chips": chips_of(here, mailboxes),
        "choices": _CHOICES,
        "mailboxes": mailboxes,
        "dates": (("since", "Since", filters.since), ("until", "Until", filters.until)),
        "matching": counted(number),
        "carried": [
            (name, value)
            for name, value in parse_qsl(here.query(after=None))
            if name in _GROUPS_OWN
        ],
        "first_query": here.query(after=None),
        "next_query": here.query(after=following) if following else "",
    }
    return page_or_fragment(
        request,
        page="approvals/queue/history.html",
        fragment="approvals/queue/_history.html",
        context=context,
    )


@require_POST
def save_view(request: DeskRequest) -> HttpResponse:
    """Save the queue's current filters, and go back to it."""
    asked = QueryDict(request.POST.get("query", "")[:4000])
    filters = read_filters(asked, mailboxes=mailboxes_of(request))
    query = filters.query(after=None)
    return saved.save(request, SavedView, query)


@require_POST
def delete_view(request: DeskRequest, view_id: int) -> HttpResponse:
    """Delete a view of one's own; somebody else's is not there to be deleted."""
    return saved.delete(request, SavedView, view_id)
