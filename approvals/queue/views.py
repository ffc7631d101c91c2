"""The pages of the queue, as HTML or JSON, and of the history: filtered by the URL,
fifty rows a page. People can save filters under a name, for themselves or for
everybody.

The message page shows the same list beside the message (`queue_context`).
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from django.http import HttpResponse, JsonResponse, QueryDict
from django.shortcuts import render
from django.utils import timezone
from django.utils.text import capfirst
from django.views.decorators.http import require_POST, require_safe

from approvals.decisions.ruling import demands_for, policy_in_force
from approvals.desk_messages import desk_messages
from approvals.models import BulkAct, Decision, SavedView, Verdict
from approvals.queue.filters import (
    GROUPS,
    ORDERS,
    RISKS,
    TABS,
    Filters,
    MessageForm,
    Position,
    as_id,
    read_filters,
)
from approvals.queue.querysets import FLOOD, QueueQuerySet, position_at, queue_messages
from approvals.queue.rows import (
    Row,
    approvers_in_words,
    as_json,
    chips_of,
    explain_mine,
    notice_context,
    rows_of,
)
from audit.search import saved
from common.actors import Actor
from common.counts import COUNTED, count_of, counted
from common.pages import DeskRequest, FiltersForm, page_or_fragment
from common.postgres import clock
from mirror.models import Mailbox, Message
from mirror.states import WITHOUT_EFFECT
from risk.rules import RULES

# Rows on a page.
PAGE = 50
# The fields of the filters (`FiltersForm`). Only the history has those for dates.
_FIELDS = """
to | To | name, address or domain
from | From | name, address or domain
by | Source | person, key, channel or run
mailbox | Mailbox |
risk | Risk |
rule | Finding |
has | Files |
"""
_DATES = """\
since | Since | 2026-11-21, today, last 7 days
until | Until | 2026-11-21, today, last 7 days
"""
# The filters that have no field.
_GROUPS_OWN = ("started", "thread", "run", "alike", "passed")
# An open page gets the ids of this many newest messages, to tell which it does not
# show.
NEWEST = 20


@dataclass(frozen=True)
class Waiting:
    """The messages that wait for a person: how many, since when the oldest is held, and
    the ids of the newest, by which an open page notices messages that it does not show.
    """

    number: int
    oldest: datetime | None
    newest: list[UUID]


@require_safe
def queue(request: DeskRequest) -> HttpResponse:
    """Show the queue without a message beside it; with `format=json`, as JSON."""
    actor = request.actor
    filters = filters_of(request)
    if request.GET.get("format") == "json":
        # Floods are not gathered: scripts expect every message.
        messages = page_of(actor, filters)
        return JsonResponse(
            {
                "messages": [as_json(one) for one in messages[:PAGE]],
                "next_after": str(_next_position(messages, filters) or ""),
                "remarks": filters.remarks,
            }
        )
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


@require_safe
def rows(request: DeskRequest) -> HttpResponse:
    """Show the rows of these messages as they are now, on an open list that heard of a
    change; also of messages that the list has no longer.
    """
    actor = request.actor
    filters = filters_of(request)
    ids = [one for one in map(as_id, request.GET.getlist("id")[:PAGE]) if one]
    visible = queue_messages().visible_to(actor)
    messages = list(visible.filter(public_id__in=ids).for_rows())
    context = {
        "rows": _rows(actor, filters, messages),
        "tab": filters.tab,
        "queue_query": filters.suffix,
        "snoozed": set(desk_messages().snoozed_by(actor).filter(public_id__in=ids)),
        "draws_all": True,
    }
    return render(request, "approvals/queue/_rows.html", context)


def filters_of(request: DeskRequest) -> Filters:
    """Return the queue's filters from the query string. The pages of single messages
    carry the same query string.
    """
    if not request.GET:
        return Filters()
    return read_filters(request.GET, mailboxes=mailboxes_of(request))


def mailboxes_of(request: DeskRequest) -> list[Mailbox]:
    """Return the mailboxes that the person may see; queried once per request."""
    mailboxes: list[Mailbox] | None = getattr(request, "desk_mailboxes", None)
    if mailboxes is None:
        mailboxes = list(
            Mailbox.objects.visible_to(request.actor).order_by("address", "pk")
        )
        request.desk_mailboxes = mailboxes  # type: ignore[attr-defined]
    return mailboxes


def queue_context(
    actor: Actor, *, filters: Filters, now: datetime, mailboxes: list[Mailbox]
) -> dict[str, Any]:
    """Return the template context of the list, which the message page shows too."""
    messages = page_of(actor, filters, is_gathered=not filters.gathers_floods)
    # Mostly one page has every waiting message, and no query has to count them.
    is_whole = filters.shows_all_waiting and len(messages) <= PAGE
    waiting = waiting_among(messages) if is_whole else waiting_of(actor)
    # By default only floods are gathered. Most pages have none, so check that before
    # the slower query.
    if filters.gathers_floods and _has_flood(actor, filters, messages):
        messages = page_of(actor, filters, is_gathered=True)
    rows = _rows(actor, filters, messages[:PAGE])
    following = _next_position(messages, filters)
    last_decision = None
    if not rows and filters.tab == "waiting" and not filters.narrows:
        # The empty queue shows the last decision.
        decisions = Decision.objects.visible_to(actor)
        decisions = decisions.exclude(state__in=WITHOUT_EFFECT)
        last_decision = decisions.select_related("given_by", "message").last()
    return {
        **_numbers(actor, filters, waiting),
        **_elsewhere(filters),
        "filters": filters,
        "tab": filters.tab,
        "tab_label": TABS[filters.tab],
        "can_pick": filters.tab in ("waiting", "mine"),
        "bulk_acts": BulkAct.objects.visible_to(actor)
        .running()
        .select_related("person"),
        "passed_query": Filters(tab="leaving", passed="yes").query(),
        "queue_query": filters.suffix,
        "rows": rows,
        "next_query": filters.query(after=following) if following else "",
        "chips": chips_of(filters, mailboxes),
        "filter_form": _filter_form(filters, mailboxes),
        "views": SavedView.objects.usable_by(actor).select_related("person"),
        "last_decision": last_decision,
        "now": now,
    }


def _filter_form(
    filters: Filters, mailboxes: list[Mailbox], table: str = _FIELDS
) -> FiltersForm:
    return FiltersForm(
        {**vars(filters), "from": filters.from_},
        table=table,
        sender="filter",
        mailbox={one.pk: one for one in mailboxes},
        risk=RISKS,
        rule={name: capfirst(one.words) for name, one in RULES.items()},
        has={"attachment": "With files"},
    )


def _rows(actor: Actor, filters: Filters, messages: Sequence[Message]) -> list[Row]:
    """Return the rows of a page of the queue, with what the active policy asks of the
    held messages. No message is read for that if no rule asks for certain people.
    """
    now = clock()
    policy = policy_in_force()
    demands = {}
    if policy.asks_people:
        held = [one.pk for one in messages if one.is_held and one.revision_id]
        asked = list(desk_messages().for_policy().filter(pk__in=held))
        demands = demands_for(asked, actor, now, policy=policy)
    rows = rows_of(messages, filters=filters, actor=actor, now=now, demands=demands)
    if filters.tab == "mine":
        explain_mine(rows, actor)
    return rows


def _numbers(actor: Actor, filters: Filters, waiting: Waiting) -> dict[str, Any]:
    """Return the counts that the page shows around the rows, and the tabs."""
    visible = desk_messages().visible_to(actor)
    tabs = tab_counts(actor, waiting=waiting.number)
    passed = count_of(visible.leaving_by_pass()) if tabs["leaving"] else 0
    numbers = {
        "waiting": counted(waiting.number),
        # For the navigation rail, which would otherwise query the same numbers again.
        "desk_waiting": _shown(waiting.number),
        "oldest": waiting.oldest,
        "newest": waiting.newest,
        "snoozed": count_of(desk_messages().snoozed_by(actor)),
        "apart": _shown(count_of(visible.set_apart())),
        "passed": _shown(passed),
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
        numbers["matching"] = counted(count_of(_asked_for(actor, filters)))
    if filters.searches:
        numbers["unsearched"] = count_of(
            # Their content was not fetched yet, so a search cannot find its words.
            queue_messages().of_tab(actor, filters.tab).filter(revision=None)
        )
    return numbers


@lru_cache(maxsize=1000)
def _elsewhere(filters: Filters) -> Mapping[str, Any]:
    """Return the links to other orders, groups and tabs, and to the same list without
    filters.
    """
    orders = [(key, label, filters.query(order=key)) for key, label in ORDERS.items()]
    groups = [(key, label, filters.query(group=key)) for key, label in GROUPS.items()]
    other = "waiting" if filters.tab == "done" else "done"
    cleared = Filters(tab=filters.tab, order=filters.order, group=filters.group)
    kept = ("tab", "order", "group", "mailbox", *_GROUPS_OWN)
    return {
        "orders": orders,
        "groups": groups,
        "order_label": "Newest first"
        if filters.newest_first
        else ORDERS[filters.order],
        "carried": _hidden(filters, kept),
        # Only the history has visible fields for dates.
        "carried_by_filters": _hidden(
            filters, ("q", "tab", "order", "group", *_GROUPS_OWN, "since", "until")
        ),
        "first_query": filters.query(after=None),
        "cleared_query": cleared.query(),
        "elsewhere_query": filters.query(tab=other) if filters.searches else "",
    }


def _hidden(filters: Filters, names: Collection[str]) -> list[tuple[str, str]]:
    """Return the hidden fields of a form that keeps these filters."""
    pairs = parse_qsl(filters.query(after=None))
    return [(name, value) for name, value in pairs if name in names]


def _has_flood(actor: Actor, filters: Filters, messages: Sequence[Message]) -> bool:
    """Whether any message of a page belongs to a flood. `messages` are the page's
    messages, and the first of the next page if there is one.
    """
    alike = Counter(
        (one.shape, one.review.risk_level, *one.review.rules)
        for one in messages
        if one.shape
    )
    if not alike:
        return False
    if filters.after is None and len(messages) <= PAGE:
        return max(alike.values()) >= FLOOD
    return _asked_for(actor, filters).in_floods(messages).exists()


def tab_counts(actor: Actor, *, waiting: int) -> dict[str, int]:
    """Return the number of messages in each tab, up to a thousand and one. Done has no
    count: it only grows, and its messages need nobody.
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
    """Return the messages that wait for a person, counted by queries."""
    waiting = desk_messages().waiting_for(actor)
    newest = waiting.order_by("-held_at", "-pk").values_list("public_id", flat=True)
    return Waiting(
        number=count_of(waiting),
        oldest=waiting.oldest_first().values_list("held_at", flat=True).first(),
        newest=list(newest[:NEWEST]),
    )


def waiting_among(messages: Sequence[Message]) -> Waiting:
    """Return the same as `waiting_of`, without a query, if these are all the messages
    that wait.
    """
    newest = sorted(messages, key=lambda one: (one.held_at, one.pk), reverse=True)
    return Waiting(
        number=len(messages),
        oldest=newest[-1].held_at if newest else None,
        newest=[one.public_id for one in newest[:NEWEST]],
    )


def _shown(number: int) -> str:
    return counted(number) if number else ""


def _asked_for(actor: Actor, filters: Filters) -> QueueQuerySet:
    # The messages of all pages, in no order.
    return queue_messages().of_tab(actor, filters.tab).matching(filters)


def page_of(
    actor: Actor, filters: Filters, *, is_gathered: bool = False
) -> list[Message]:
    """Return the messages of a page, and one more if there is a next page."""
    messages = _asked_for(actor, filters)
    if is_gathered:
        messages = messages.gathered(filters)
    order = filters.row_order
    return list(
        messages.for_rows().following(order, filters.after).in_order(order)[: PAGE + 1]
    )


def _next_position(messages: Sequence[Message], filters: Filters) -> Position | None:
    """Return the position after which the next page begins; None on the last page."""
    if len(messages) <= PAGE:
        return None
    return position_at(messages[PAGE - 1], filters.row_order)


def next_in(actor: Actor, filters: Filters, message: Message) -> UUID | None:
    """Return the id of the message to review next: the one after this in the list, or
    the first if this was the last.
    """
    order = filters.row_order
    others = _asked_for(actor, filters).exclude(pk=message.pk).in_order(order)
    following = others.following(order, position_at(message, order))
    next_id = following.values_list("public_id", flat=True).first()
    return next_id or others.values_list("public_id", flat=True).first()


@dataclass(frozen=True)
class Place:
    """A message's place in a list, such as "3" of "12", and the id of the message to
    review next.
    """

    number: str
    of: str
    following: UUID | None


def place_of(actor: Actor, filters: Filters, message: Message) -> Place:
    """Return the place of a message in this list. The numbers are empty if the message
    is not in the list.
    """
    listed = _asked_for(actor, filters)
    ordered = listed.in_order(filters.row_order).values_list("public_id", flat=True)
    keys = list(ordered[: COUNTED + 1])
    if message.public_id in keys:
        index = keys.index(message.public_id)
        others = keys[index + 1 :] or keys[:index]
        return Place(
            counted(index + 1), counted(len(keys)), others[0] if others else None
        )
    is_further = len(keys) > COUNTED and listed.filter(pk=message.pk).exists()
    number = counted(len(keys)) if is_further else ""
    return Place(number, number, next_in(actor, filters, message))


@require_safe
def history(request: DeskRequest) -> HttpResponse:
    """Show the decided messages, newest first, with the search and filters of the
    queue.
    """
    actor = request.actor
    mailboxes = mailboxes_of(request)
    requested = read_filters({**request.GET.dict(), "tab": "done"}, mailboxes=mailboxes)
    filters = replace(requested, order="oldest", group="")
    messages = page_of(actor, filters)
    rows = rows_of(messages[:PAGE], filters=filters, actor=actor, now=timezone.now())
    verdicts = list(Verdict.objects.given_on(messages[:PAGE]))
    newest = {one.message_id: one.pk for one in verdicts}
    approved = approvers_in_words(verdicts)
    for row in rows:
        row.verdict_id = newest.get(row.message.pk)
        row.approved = approved.get(row.message.pk, "")
    # The history has its own path, so its links leave out the tab; "waiting" is the
    # default, which is not written.
    link_filters = replace(filters, tab="waiting")
    following = _next_position(messages, filters)
    number = count_of(_asked_for(actor, filters)) if filters.narrows else 0
    context = {
        "rows": rows,
        "filters": filters,
        "chips": chips_of(link_filters, mailboxes),
        "filter_form": _filter_form(filters, mailboxes, _FIELDS + _DATES),
        "matching": counted(number),
        "carried": _hidden(link_filters, ("mailbox", *_GROUPS_OWN)),
        "carried_by_filters": _hidden(link_filters, ("q", *_GROUPS_OWN)),
        "first_query": link_filters.query(after=None),
        "next_query": link_filters.query(after=following) if following else "",
    }
    return page_or_fragment(
        request,
        page="approvals/queue/history.html",
        fragment="approvals/queue/_history.html",
        context=context,
    )


@require_POST
def save_view(request: DeskRequest) -> HttpResponse:
    """Save the queue's current filters under a name, and go back to the queue."""
    posted = QueryDict(request.POST.get("query", "")[:4000])
    filters = read_filters(posted, mailboxes=mailboxes_of(request))
    return saved.save(request, SavedView, filters.query(after=None))


@require_POST
def delete_view(request: DeskRequest, view_id: int) -> HttpResponse:
    """Delete a saved view of this person. For somebody else's the answer is 404."""
    return saved.delete(request, SavedView, view_id)
