"""The queue as a list: filtered by its URL, fifty rows a page, as HTML or JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from approvals.decisions.demands import demands_for, policy_from, policy_part
from approvals.models import Decision, SavedView, Verdict
from approvals.querysets.messages import desk_messages, read_decisions
from approvals.queue.decision_notice import notice_context
from approvals.queue.filters import GROUPS, ORDERS, RISKS, TABS, Filters, MessageForm, Position, QueueForm, as_number
from approvals.queue.querysets import (
    QueueQuerySet,
    anywhere_like,
    named_at,
    order_of,
    position_at,
    queue_messages,
    weights_from,
    weights_part,
)
from approvals.queue.rows import (
    Approvals,
    Row,
    approvals_by_message,
    approvals_of,
    as_json,
    chips_of,
    rows_of,
    with_people,
)
from common.pages import DeskRequest, page_or_fragment
from common.postgres.statements import (
    COUNTED,
    NAMED_LATER,
    RowQuery,
    ValueQuery,
    any_of,
    array_of,
    count_of,
    first_of,
    list_of,
    read_values,
)
from mirror.models import Mailbox, Message
from mirror.querysets.messages import anybody_like, asked_by
from mirror.states import MessageState
from people.actors import Actor
from policy.rules.demand import Demand
from risk import RULES

PAGE = 50
# The filters that no field of the search form has.
_GROUPS_OWN = ("started", "thread", "run", "alike", "standing")
# The number of decided messages only grows and needs nobody, so their tab has no count.
COUNTED_TABS = tuple(tab for tab in TABS if tab != "done")


@login_required
@require_safe
def queue(request: DeskRequest) -> HttpResponse:
    """Show the queue without a message beside it."""
    actor: Actor = request.actor
    filters = filters_of(request)
    if request.GET.get("format") == "json":
        return JsonResponse(_for_scripts(actor, filters))
    context = queue_context(actor, filters=filters, now=timezone.now(), mailboxes=mailboxes_of(request))
    context |= notice_context(actor, MessageForm(request.GET).value("decided"))
    return page_or_fragment(
        request, page="approvals/queue/queue.html", fragment="approvals/queue/_list.html", context=context
    )


def filters_of(request: DeskRequest) -> Filters:
    """Return what the address of this page asks the queue for; the page of one message has the same address."""
    return QueueForm(request.GET, mailboxes=mailboxes_of(request)).filters() if request.GET else Filters()


def mailboxes_of(request: DeskRequest) -> list[Mailbox]:
    """Return the mailboxes that the person may look into; asked for once a request."""
    known: list[Mailbox] | None = getattr(request, "desk_mailboxes", None)
    if known is None:
        known = _mailboxes(anybody_like(request.actor)).read({})
        request.desk_mailboxes = known  # type: ignore[attr-defined]
    return known


@lru_cache(maxsize=1000)
def _mailboxes(actor: Actor) -> RowQuery[Mailbox]:
    return RowQuery(Mailbox.objects.visible_to(actor).order_by("address", "pk"))


def _for_scripts(actor: Actor, filters: Filters) -> dict[str, Any]:
    """Each message by itself: a script counts on it."""
    found = page_of(actor, filters)
    after = str(position_at(found[PAGE - 1], order_of(filters))) if len(found) > PAGE else ""
    shown = found[:PAGE]
    approvals = approvals_by_message(Verdict.objects.given_on(shown))
    demands = _demands(actor, shown, read_values({"policy": policy_part(actor)}))
    approvals |= {key: approvals_of(demand) for key, demand in demands.items()}
    return {
        "messages": [as_json(message, approvals.get(message.pk, Approvals())) for message in shown],
        "next_after": after,
        "remarks": list(filters.remarks),
    }


def queue_context(actor: Actor, *, filters: Filters, now: datetime, mailboxes: list[Mailbox]) -> dict[str, Any]:
    """Return what the list shows; the message page shows the same list beside the message."""
    # By default only floods are gathered; most pages have none, so that is checked first.
    found = _apart(actor, filters) if filters.gathers_floods else _gathered(actor, filters)
    figures = _figures(actor, filters, found)
    if figures.get("flood"):
        found = _gathered(actor, filters)
    read_decisions(found)
    weights = weights_from(figures["weights"])
    now_there = figures["clock"]
    demands = _demands(actor, found[:PAGE], figures)
    rows = rows_of(found[:PAGE], filters=filters, actor=actor, now=now_there, weights=weights, demands=demands)
    rows = with_people(rows, actor=actor, tab=filters.tab)
    return {
        **_frame(filters, figures),
        **_elsewhere(filters),
        "rows": rows,
        "next_query": _next_query(found, filters, figures["clock"]),
        "chips": chips_of(filters, mailboxes),
        "mailboxes": mailboxes,
        "views": [json.loads(view) for view in figures["views"] or ()],
        "last_decision": _last_decision(actor, filters, rows),
        "now": now,
    }


def _demands(actor: Actor, messages: Sequence[Message], figures: Mapping[str, Any]) -> dict[int, Demand]:
    """Return what the active policy asks of the held messages of a page; nothing is read where none is active."""
    in_force = policy_from(figures["policy"])
    if not in_force.policy.rules:
        return {}
    held = [one for one in messages if one.state == MessageState.HELD and one.revision_id]
    return demands_for(held, actor=actor, now=figures["clock"], in_force=in_force)


def _frame(filters: Filters, figures: dict[str, Any]) -> dict[str, Any]:
    """Return the context around the rows: numbers, notes, and the query string of links."""
    return {
        "filters": filters,
        "tab": filters.tab,
        "tab_label": TABS[filters.tab],
        "can_pick": filters.tab in ("waiting", "mine"),
        "explains": filters.order == "riskiest" and not filters.newest_first,
        "waiting": counted(figures["waiting"]),
        # The rail shows the same numbers; they are not read twice.
        "desk_waiting": counted(figures["waiting"]) if figures["waiting"] else "",
        "desk_asked": figures["asked"],
        "oldest": next(iter(figures["oldest"] or ()), None),
        "newest": figures["newest"] or [],
        "matching": counted(figures["matching"]) if filters.narrows else "",
        "unsearched": figures.get("unsearched", 0),
        "snoozed": figures["snoozed"],
        "apart": counted(figures["apart"]) if figures["apart"] else "",
        "by_standing": counted(figures["by_standing"]) if figures["by_standing"] else "",
        "standing_query": Filters(tab="leaving", standing="yes").query(),
        "moved": figures.get("moved", 0),
        "is_first_page": filters.after is None,
        "queue_query": filters.suffix,
        "tabs": [
            (tab, label, counted(figures[tab]) if tab in figures else "", query)
            for tab, label, query in _elsewhere(filters)["tab_queries"]
        ],
    }


@lru_cache(maxsize=1000)
def _elsewhere(filters: Filters) -> Mapping[str, Any]:
    """Return the links to other orders, groups and tabs, and to the same list without filters."""
    orders = [(key, label, filters.query(order=key)) for key, label in ORDERS.items()]
    groups = [(key, label, filters.query(group=key)) for key, label in GROUPS.items()]
    other = "waiting" if filters.tab == "done" else "done"
    # The search form's hidden fields; the dates have none in the queue, only in the history.
    sent_along = ("tab", "order", "group", *_GROUPS_OWN, "since", "until")
    carried = parse_qsl(filters.query(after=None))
    return {
        "tab_queries": [(tab, label, filters.query(tab=tab)) for tab, label in TABS.items()],
        "orders": orders,
        "groups": groups,
        "order_label": "Newest first" if filters.newest_first else ORDERS[filters.order],
        "choices": {"risks": RISKS, "rules": RULES.values()},
        "carried": [(name, value) for name, value in carried if name in sent_along],
        "first_query": filters.query(after=None),
        "cleared_query": filters.cleared(),
        "elsewhere_query": filters.query(tab=other) if filters.searches else "",
    }


def _figures(actor: Actor, filters: Filters, found: list[Message]) -> dict[str, Any]:
    """Read all numbers around the rows in one statement."""
    anybody = anybody_like(actor)
    parts = {**_standing_parts(anybody), "policy": policy_part(actor)}
    if filters.gathers_floods and any(message.shape for message in found):
        parts["flood"] = _flood_part(anybody, replace(filters, after=None)).with_values(
            {NAMED_LATER: array_of(one.pk for one in found)}
        )
    if filters.narrows:
        parts["matching"] = count_of(_asked_for(actor, filters))
    if filters.searches:
        parts["unsearched"] = count_of(queue_messages().of_tab(actor, filters.tab).filter(revision=None))
    if filters.after and filters.after.since and not filters.newest_first:
        parts["moved"] = count_of(_asked_for(actor, filters).moved_since(filters.order, filters.after))
    return read_values(parts, asked_by(actor))


@lru_cache(maxsize=1000)
def _standing_parts(actor: Actor) -> Mapping[str, ValueQuery]:
    """Return the figures that every list shows. Their SQL is the same each time, and takes long to build."""
    oldest = desk_messages().waiting_for(actor).oldest_first().values_list("held_at")[:1]
    return {
        **tab_counts(actor),
        "snoozed": count_of(desk_messages().snoozed_by(actor)),
        "apart": count_of(desk_messages().visible_to(actor).set_apart()),
        "by_standing": count_of(desk_messages().visible_to(actor).leaving_by_standing()),
        "asked": count_of(desk_messages().asked_of(actor)),
        "oldest": list_of(oldest),
        "newest": newest_of(actor),
        "weights": weights_part(),
        "views": list_of(SavedView.objects.usable_by(actor).spelled(actor)),
    }


@lru_cache(maxsize=1000)
def _flood_part(actor: Actor, filters: Filters) -> ValueQuery:
    """Return how to ask whether any of the rows of a page is one of a flood."""
    return count_of(_asked_for(actor, filters).in_floods())


def tab_counts(actor: Actor) -> dict[str, ValueQuery]:
    """Return how the number in each tab is asked for."""
    return {tab: count_of(queue_messages().of_tab(actor, tab)) for tab in COUNTED_TABS}


def newest_of(actor: Actor) -> ValueQuery:
    """Return how to ask for the last that came, by which an open page tells what it does not show yet."""
    newest = desk_messages().waiting_for(actor).order_by("-held_at", "-pk")
    return list_of(newest.values_list("public_id")[:20])


def counted(number: int) -> str:
    """Return a count that stops at a thousand, for display."""
    return f"{COUNTED}+" if number > COUNTED else str(number)


def _asked_for(actor: Actor, filters: Filters) -> QueueQuerySet:
    return queue_messages().of_tab(actor, filters.tab).matching(filters)


def page_of(actor: Actor, filters: Filters) -> list[Message]:
    """Return the messages of a page, and one more, which shows that there is a next page."""
    found = _apart(actor, filters)
    read_decisions(found)
    return found


def _apart(actor: Actor, filters: Filters) -> list[Message]:
    """Return the messages of a page, each by itself."""
    if filters.narrows or filters.after:
        return list(_page_of(_asked_for(actor, filters), filters))
    return _first_page(anybody_like(actor), filters).read(asked_by(actor))


def _gathered(actor: Actor, filters: Filters) -> list[Message]:
    return list(_page_of(_asked_for(actor, filters).gathered(filters), filters))


@lru_cache(maxsize=1000)
def _first_page(actor: Actor, filters: Filters) -> RowQuery[Message]:
    return RowQuery(_page_of(_asked_for(actor, filters), filters))


def _page_of(messages: QueueQuerySet, filters: Filters) -> QueueQuerySet:
    order = order_of(filters)
    return messages.for_rows().following(order, filters.after).in_order(order)[: PAGE + 1]


def _next_query(found: list[Message], filters: Filters, clock: datetime) -> str:
    """Return the query string of the next page; empty on the last one."""
    if len(found) <= PAGE:
        return ""
    since = (filters.after.since if filters.after else 0) or as_number(clock)
    return filters.query(after=position_at(found[PAGE - 1], order_of(filters), since=since))


def _last_decision(actor: Actor, filters: Filters, rows: list[Row]) -> Decision | None:
    """Return the last that was decided, where nothing is left to decide."""
    if rows or filters.tab != "waiting" or filters.narrows:
        return None
    return Decision.objects.visible_to(actor).select_related("given_by", "message").order_by("-pk").first()


def next_in(actor: Actor, filters: Filters, message: Message) -> UUID | None:
    """Return the message to go on with: the next in this list, or its first when this was the last."""
    following: UUID | None = read_values({"next": position_parts(actor, filters, message)["next"]})["next"]
    return following


def position_of(figures: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return a message's position in the list and the list's length; None when it is not in it."""
    return (counted(figures["before"] + 1), counted(figures["all"])) if figures["here"] else None


def position_parts(actor: Actor, filters: Filters, message: Message) -> dict[str, ValueQuery]:
    """Return how to ask whether a message stands in this list, what comes before it, and what comes next."""
    order = order_of(filters)
    position = position_at(message, order)
    parts = _position_parts(anybody_like(actor), replace(filters, after=None), anywhere_like(position))
    named = asked_by(actor) | named_at(order, position)
    return {name: part.with_values(named) for name, part in parts.items()}


@lru_cache(maxsize=1000)
def _position_parts(actor: Actor, filters: Filters, position: Position) -> dict[str, ValueQuery]:
    order = order_of(filters)
    asked = _asked_for(actor, filters)
    others = asked.exclude(pk=position.key).in_order(order)
    return {
        "here": any_of(asked.filter(pk=position.key)),
        "before": count_of(asked.preceding(order, position)),
        "all": count_of(asked),
        "next": first_of(*(rows.values_list("public_id") for rows in (others.following(order, position), others))),
    }


@login_required
@require_safe
def history(request: DeskRequest) -> HttpResponse:
    """Show what was decided, newest first, page by page; searched and filtered as the queue is."""
    actor: Actor = request.actor
    mailboxes = mailboxes_of(request)
    asked = QueueForm({**request.GET.dict(), "tab": "done"}, mailboxes=mailboxes).filters()
    filters = replace(asked, order="oldest", group="")
    found = page_of(actor, filters)
    rows = rows_of(found[:PAGE], filters=filters, actor=actor, now=timezone.now(), weights={})
    verdicts = list(Verdict.objects.given_on(found[:PAGE]))
    newest, approved = {one.message_id: one.pk for one in verdicts}, approvals_by_message(verdicts)
    # The page is a tab of its own, which its addresses need not name.
    here = replace(filters, tab="waiting")
    last = position_at(found[PAGE - 1], "newest") if len(found) > PAGE else None
    number = read_values({"matching": count_of(_asked_for(actor, filters))})["matching"] if filters.narrows else 0
    context = {
        "rows": [
            replace(row, verdict=newest.get(row.message.pk), approved=approved.get(row.message.pk, Approvals()))
            for row in rows
        ],
        "filters": filters,
        "chips": chips_of(here, mailboxes),
        "choices": {"risks": RISKS, "rules": RULES.values()},
        "mailboxes": mailboxes,
        "dates": (("since", "Since", filters.since), ("until", "Until", filters.until)),
        "matching": counted(number),
        "carried": [(name, value) for name, value in parse_qsl(here.query(after=None)) if name in _GROUPS_OWN],
        "is_first_page": filters.after is None,
        "first_query": here.query(after=None),
        "next_query": here.query(after=last) if last else "",
    }
    return page_or_fragment(
        request, page="approvals/queue/history.html", fragment="approvals/queue/_history.html", context=context
    )
