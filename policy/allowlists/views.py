"""The pages of allowlists: all lists, one list with its entries, one entry with its
history, the preview of a change and saving it, the CSV export, and refused mail.
"""

from datetime import timedelta
from typing import Any

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from common.actors import Actor, Role
from common.errors import SentenceError
from common.mail_addresses import compared, is_pattern
from common.pages import (
    DeskRequest,
    answer,
    changes,
    cleaned,
    first_or_404,
    redirect_with_notice,
)
from common.postgres import clock
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox
from people.sign_in.reauthentication import reauthenticated
from policy.allowlists import gates
from policy.allowlists.changes import (
    NOT_YOURS,
    Change,
    WantedEntry,
    add_allowlist,
    apply_change,
    delete_allowlist,
    names,
    note_export,
    steps_of,
)
from policy.allowlists.files import written
from policy.allowlists.forms import ChangeForm, FindForm, ListForm
from policy.errors import PolicyRefused, StaleAllowlist
from policy.models import AllowEntry, Allowlist, GateList, GateRefusal
from policy.rules.changes import policies

# Rows of a page.
PAGE = 100
REFUSALS_PAGE = 50
# How long a refused address is allowed by one press.
DAYS = 7


def get_visible_list_or_404(request: DeskRequest, list_id: int) -> Allowlist:
    """Return the list with this key. Raises Http404 if the actor may not see it."""
    visible = Allowlist.objects.at_work().visible_to(request.actor)
    return first_or_404(
        visible.filter(pk=list_id), "There is no such list, or you may not see it."
    )


def _lists_page(
    request: DeskRequest, *, error: SentenceError | None = None
) -> HttpResponse:
    """Show the lists that the actor may see, what names them, and whether the gates have
    them.
    """
    actor = request.actor
    current = policies()
    rows = [
        (one, [part.name for part in current.active_parts if names(part, one)])
        for one in Allowlist.objects.visible_to(actor).for_overview(timezone.now())
    ]
    context = {
        "lists": rows,
        "may_add": actor.has(Role.ADMIN),
        "form": ListForm(request.POST or None, actor=actor),
        "gates": GateList.objects.visible_to(actor).for_page()[:PAGE],
    }
    return answer(request, "policy/allowlists.html", context, error)


allowlists = require_safe(_lists_page)


@require_POST
@changes(_lists_page, to="allowlists")
def add_list(request: DeskRequest) -> HttpResponse:
    """Make an empty list, and show its page."""
    wanted = cleaned(ListForm(request.POST, actor=request.actor))
    made = add_allowlist(actor=request.actor, **wanted)
    return redirect_with_notice(request, "The list is made.", made.url)


def _list_page(
    request: DeskRequest,
    list_id: int,
    *,
    error: SentenceError | None = None,
    form: ChangeForm | None = None,
) -> HttpResponse:
    """Show one list and its entries, a page at a time. `form` is a filled-in form with
    errors, if there is one.
    """
    at = get_visible_list_or_404(request, list_id)
    find = FindForm(request.GET)
    text = find.value("q") or ""
    after = find.value("after") or ""
    rows = at.entries.not_removed()
    matching = rows.found_by(text)
    entries = list(matching.for_page(after)[: PAGE + 1])
    initial = {
        "owner": getattr(request.user, "email", ""),
        "lines": request.GET.get("add", "")[:320],
    }
    current = policies()
    context = {
        "at": at,
        "may_change": at.is_administered_by(request.actor),
        "named_by": [one for one in current.active_parts if names(one, at)],
        "named_in_draft": [one for one in current.draft_parts if names(one, at)],
        "entries": entries[:PAGE],
        "live": rows.live(timezone.now()).count(),
        "number": matching.count(),
        "is_first_page": not after,
        "next_after": entries[PAGE - 1].pattern if len(entries) > PAGE else "",
        "text": text,
        "form": form or ChangeForm(initial=initial),
    }
    return answer(request, "policy/allowlist.html", context, error, form=form)


allowlist = require_safe(_list_page)


@require_POST
@changes(_list_page, to="allowlists")
def delete_list(request: DeskRequest, list_id: int) -> str:
    """Delete a list that nothing names."""
    at = get_visible_list_or_404(request, list_id)
    delete_allowlist(allowlist=at, actor=request.actor)
    return f"The list “{at}” is deleted."


@require_safe
def entry(request: DeskRequest, entry_id: int) -> HttpResponse:
    """Show one entry, removed or not, and what its pattern was in its list before."""
    visible = Allowlist.objects.visible_to(request.actor)
    row = first_or_404(
        AllowEntry.objects.filter(allowlist__in=visible, pk=entry_id),
        "There is no such entry, or you may not see its list.",
    )
    past = AllowEntry.objects.filter(allowlist=row.allowlist, pattern=row.pattern)
    context = {
        "at": row.allowlist,
        "heading": row.pattern,
        "past": past.select_related("owner", "added_by", "removed_by").order_by("-pk"),
    }
    return render(request, "policy/allow_entry.html", context)


@require_POST
def preview_change(request: DeskRequest, list_id: int) -> HttpResponse:
    """Show what a change would do. Nothing is saved."""
    form = ChangeForm(request.POST, request.FILES)
    return _preview(request, get_visible_list_or_404(request, list_id), form)


@require_POST
@reauthenticated
def save(request: DeskRequest, list_id: int) -> HttpResponse:
    """Save a change, if the list still has the version that the preview showed."""
    at = get_visible_list_or_404(request, list_id)
    form = ChangeForm(request.POST)
    if not (at.is_administered_by(request.actor) and form.is_valid()):
        return _preview(request, at, form)
    version = form.cleaned_data["version"]
    try:
        saved = apply_change(
            allowlist=at,
            change=form.wanted(at),
            version=version,
            actor=request.actor,
        )
    except StaleAllowlist as error:
        fresh = get_visible_list_or_404(request, list_id)
        return _preview(request, fresh, form, stale=error.sentence)
    except SentenceError as error:
        return _list_page(request, list_id, error=error)
    notice = f"Saved as version {saved.version}."
    if saved.version == version:
        notice = "Nothing changed."
    return redirect_with_notice(request, notice, at.url)


def _preview(
    request: DeskRequest, at: Allowlist, form: ChangeForm, stale: str = ""
) -> HttpResponse:
    """Show the preview of a change of the current list, or the list's page with an error
    if the change is not possible. `stale` is a sentence if somebody else changed the
    list after an earlier preview; then the status is 409.
    """
    if not at.is_administered_by(request.actor):
        return _list_page(request, at.pk, error=ActNotAllowed(NOT_YOURS))
    if not form.is_valid():
        return _list_page(request, at.pk, form=form)
    steps = steps_of(form.wanted(at), at)
    typed = request.POST
    resent = [one for one in form.fields if one not in ("version", "file", "csv")]
    context = {
        "at": at,
        "steps": {
            did: [one for one in steps if one.did == did]
            for did in ("added", "changed", "removed")
        },
        "is_nothing": not steps,
        "problems": form.problems,
        "typed": [
            *((name, value) for name in resent for value in typed.getlist(name)),
            ("csv", form.cleaned_data["csv"]),
        ],
        "stale": stale,
    }
    status = 409 if stale else 200
    return render(request, "policy/allowlist_preview.html", context, status=status)


@require_POST
@reauthenticated
def export(request: DeskRequest, list_id: int) -> HttpResponseBase:
    """Export the entries that match the search as a CSV file; the ledger records it."""
    at = get_visible_list_or_404(request, list_id)
    text = FindForm(request.POST).value("q") or ""
    rows = at.entries.not_removed().found_by(text)
    note_export(at=at, actor=request.actor, number=rows.count(), text=text)
    file = StreamingHttpResponse(
        written(rows.for_export()), content_type="text/csv; charset=utf-8"
    )
    file["Content-Disposition"] = f'attachment; filename="allowlist-{at.pk}.csv"'
    return file


def _refusals_page(
    request: DeskRequest, *, error: SentenceError | None = None, **_: Any
) -> HttpResponse:
    """Show the mail that gates refused, newest first: from which key, to whom, by which
    rule; and the lists by which an admin can allow an address.
    """
    before = FindForm(request.GET).value("before")
    visible = GateRefusal.objects.visible_to(request.actor).for_page(before)
    found = list(visible[: REFUSALS_PAGE + 1])
    page = found[:REFUSALS_PAGE]
    boxes = {one.mailbox for one in page}
    lists = {box: _lists_to_allow(request.actor, box) for box in boxes}
    rows = []
    for one in page:
        others = [each for each in one.recipients if each not in one.refused]
        rows.append((one, lists.get(one.mailbox), others))
    context = {
        "rows": rows,
        "next_before": page[-1].pk if len(found) > REFUSALS_PAGE else None,
        "is_first_page": before is None,
    }
    return answer(request, "policy/refusals.html", context, error)


refusals = require_safe(_refusals_page)


def _lists_to_allow(actor: Actor, mailbox: Mailbox | None) -> list[Allowlist]:
    """Return the lists of the rules that refuse mail at the gate of this mailbox, which
    the actor administers.
    """
    named = gates.lists_at(mailbox) if mailbox else ()
    lists = Allowlist.objects.at_work().filter(pk__in=named)
    return [one for one in lists if one.is_administered_by(actor)]


@require_POST
@reauthenticated
@changes(_refusals_page, to="refusals")
def allow_refused(request: DeskRequest, refusal_id: int) -> str:
    """Add a refused address to a list for seven days."""
    refusal = first_or_404(
        GateRefusal.objects.visible_to(request.actor).filter(pk=refusal_id),
        "There is no such refusal, or you may not see its mailbox.",
    )
    address = request.POST.get("address", "")
    pattern = compared(address) or ""
    chosen = request.POST.get("list")
    may_choose = _lists_to_allow(request.actor, refusal.mailbox)
    lists = {str(one.pk): one for one in may_choose}
    if not lists:
        raise ActNotAllowed(NOT_YOURS)
    if address not in refusal.refused or not is_pattern(pattern) or chosen not in lists:
        raise PolicyRefused(
            "Choose one of the refused addresses, and one of the lists."
        )
    at = lists[chosen]
    ends = clock() + timedelta(days=DAYS)
    if at.entries.live(ends).filter(pattern=pattern).exists():
        raise PolicyRefused(f"{pattern} is on the list “{at}” for longer already.")
    note = f"Allowed for {DAYS} days"
    change = Change((WantedEntry(pattern, note, int(request.actor.id), ends),))
    apply_change(allowlist=at, change=change, version=at.version, actor=request.actor)
    return f"{pattern} is on the list “{at}” for {DAYS} days."
