"""The allowlists: all that one sees, one with its entries, its history, and the history of an entry."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from common.pages import DeskRequest
from mirror.models import Connection, Mailbox
from people.actors import Actor
from policy.allowlists.forms import SHOWN, FindForm
from policy.allowlists.gate_status import at_gate
from policy.allowlists.history import told_changes
from policy.allowlists.scopes import ListAt, list_at, list_of
from policy.allowlists.wording import KINDS, mode_words, modes_of
from policy.models import AllowEntry, Allowlist, GateList

PAGE = 100
# On the page of all lists: so many entries are found, and so many gates told of.
FOUND = 50


@login_required
@require_safe
def allowlists(request: DeskRequest) -> HttpResponse:
    """Show every list that holds for what one sees, how each stands at the gates, and search all of their entries."""
    actor, now = request.actor, timezone.now()
    if chosen := request.GET.get("list"):
        return redirect(_named(chosen, actor).url)
    text, _, _ = FindForm(request.GET).found()
    entries = AllowEntry.objects.in_place().visible_to(actor).found_by(text).for_page("")
    named = entries.select_related("allowlist__connection", "allowlist__mailbox")
    found = list(named[: FOUND + 1]) if text else []
    gates = GateList.objects.visible_to(actor).for_page()
    context = {
        "rows": [_row(one) for one in Allowlist.objects.visible_to(actor).for_overview(now)],
        "choices": _choices(actor),
        "text": text,
        "found": [(entry, list_of(entry.allowlist), _is_live(entry)) for entry in found[:FOUND]],
        "found_more": len(found) > FOUND,
        "gates": [at_gate(gate) for gate in gates[:PAGE]],
    }
    return render(request, "approvals/allowlists.html", context)


@login_required
@require_safe
def allowlist(request: DeskRequest, scope: str, kind: str) -> HttpResponse:
    """Show one list: its mode, how it stands at the gates, and its entries, a page at a time."""
    return answer_list(request, visible_list(request, scope, kind))


@login_required
@require_safe
def history(request: DeskRequest, scope: str, kind: str) -> HttpResponse:
    """Show what was changed in a list, by whom, with before and after."""
    at = visible_list(request, scope, kind)
    before = request.GET.get("before", "")
    number = int(before) if before.isascii() and before.isdecimal() and len(before) < 19 else None
    changes = list(at.row.changes.for_page(number)[: PAGE + 1]) if at.row else []
    context = {
        **head_of(at, request.actor),
        "changes": told_changes(changes[:PAGE]),
        "next_before": changes[PAGE - 1].pk if len(changes) > PAGE else None,
        "is_first_page": number is None,
    }
    return render(request, "approvals/allowlist_history.html", context)


@login_required
@require_safe
def entry(request: DeskRequest, entry_id: int) -> HttpResponse:
    """Show one entry, removed or not, with its history and a form for it."""
    found = AllowEntry.objects.visible_to(request.actor).for_page("")
    named = found.select_related("owner", "added_by", "allowlist__connection", "allowlist__mailbox")
    row = named.filter(pk=entry_id).first()
    if row is None:
        raise Http404("There is no such entry, or it is in a list that you do not see.")
    at = list_of(row.allowlist)
    context = {
        **head_of(at, request.actor),
        "entry": row,
        "is_live": _is_live(row),
        "changes": told_changes(row.changes.for_page(None)[:PAGE]),
    }
    return render(request, "approvals/allow_entry.html", context)


def visible_list(request: DeskRequest, scope: str, kind: str) -> ListAt:
    """Return the list of an address. Raises Http404 where there can be none, or its place is not seen."""
    at = list_at(scope, kind, request.actor)
    if at is None:
        raise Http404("There is no such list, or you do not see what it is for.")
    return at


def head_of(at: ListAt, actor: Actor) -> dict[str, Any]:
    """Return what every page of one list says of it."""
    return {
        "at": at,
        "title": KINDS[at.kind],
        "mode": mode_words(at.kind, at.mode),
        "may_change": at.may_change(actor),
    }


def answer_list(
    request: DeskRequest, at: ListAt, *, status: int = 200, wrong: tuple[str, str] = ("", ""), typed: Any = None
) -> HttpResponse:
    """Show a list, where a form was wrong with what was typed; `wrong` is its field and what is wrong."""
    actor, now = request.actor, timezone.now()
    text, show, after = FindForm(request.GET).found()
    rows = at.row.entries.in_place() if at.row else AllowEntry.objects.none()
    matching = rows.found_by(text).showing(show, now)
    entries = list(matching.for_page(after)[: PAGE + 1])
    gates = GateList.objects.visible_to(actor).for_page()
    mine = gates.of_lists(connection=at.place.connection, mailbox=at.place.mailbox, kind=at.kind)
    context = {
        **head_of(at, actor),
        "modes": modes_of(at.kind),
        "entries": [(one, _is_live(one)) for one in entries[:PAGE]],
        "live": rows.live(now).count(),
        "number": matching.count(),
        "is_first_page": not after,
        "next_after": entries[PAGE - 1].pattern if len(entries) > PAGE else "",
        "text": text,
        "show": show,
        "shows": SHOWN,
        "gates": [at_gate(gate) for gate in mine[:20]],
        "wrong_field": wrong[0],
        "problem": wrong[1],
        "typed": typed or {"owner": getattr(request.user, "email", ""), "lines": request.GET.get("add", "")[:320]},
    }
    return render(request, "approvals/allowlist.html", context, status=status)


def _is_live(entry: AllowEntry) -> bool:
    return entry.removed_at is None and (entry.expires_at is None or entry.expires_at > timezone.now())


def _row(one: Any) -> dict[str, Any]:
    return {"list": one, "at": list_of(one), "title": KINDS[one.kind], "mode": mode_words(one.kind, one.mode)}


def _choices(actor: Actor) -> list[tuple[str, str]]:
    """Return every list that there can be of what the actor sees, for whoever looks for one that is not written yet."""
    places = [("all", "All mail")]
    places += [
        (f"connection-{one.pk}", f"Connection {one}")
        for one in Connection.objects.at_work().visible_to(actor).order_by("name")
    ]
    boxes = Mailbox.objects.at_work().visible_to(actor).order_by("address")
    places += [(f"mailbox-{one.pk}", f"Mailbox {one}") for one in boxes]
    return [
        (f"{scope}/{kind}", f"{label}: {words.lower()}") for scope, label in places for kind, words in KINDS.items()
    ]


def _named(chosen: str, actor: Actor) -> ListAt:
    scope, _, kind = chosen.partition("/")
    at = list_at(scope, kind, actor)
    if at is None:
        raise Http404("There is no such list, or you do not see what it is for.")
    return at
