"""The pages of allowlists: the overview, one list with its entries, one entry with its
history, the preview of a change and saving it, the CSV export, and refused mail.
"""

import re
from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from common.actors import Actor
from common.errors import SentenceError
from common.pages import (
    DeskRequest,
    answer,
    changes,
    first_or_404,
    redirect_with_notice,
)
from mirror.errors import ActNotAllowed
from mirror.models import Connection, Mailbox
from people.models import Person
from people.sign_in.reauthentication import reauthenticated
from policy.allowlists.changes import allow_for_days, apply_change, note_export
from policy.allowlists.files import written
from policy.allowlists.forms import ChangeForm, CodeForm, FindForm
from policy.allowlists.gates import gate_status, try_now
from policy.allowlists.judgement import ListScope
from policy.allowlists.preview import preview, rehearse, save_label
from policy.errors import PolicyRefused, StaleAllowlist
from policy.models import AllowEntry, Allowlist, GateList, GateRefusal
from policy.models.allowlists import KINDS

# Rows of a page.
PAGE = 100
REFUSALS_PAGE = 50
# How many results the search on the overview shows.
FOUND = 50
# How many recipients that a change would block the preview names.
MAX_BLOCKED = 200
# How many entries our own gateway accepts in one list (docs/allowlists.md). It refuses
# a longer list, and keeps the list that it has.
TAKEN_AT_GATE = 5000
_NOT_YOURS = "Only an admin of everything that this list covers can change it."
_SCOPE = re.compile(r"all|(connection|mailbox)-([0-9]{1,18})")
_MISSING = "There is no such list, or you may not see it."


def get_visible_list_or_404(scope: str, kind: str, actor: Actor) -> Allowlist:
    """Return the list that a URL names; an unsaved one if it was never written.

    Raises Http404 if the URL names no possible list, or one that the actor may not see.
    The list for all mail applies to every mailbox, so everybody with a role may see it.
    """
    match = _SCOPE.fullmatch(scope)
    if match is None or kind not in Allowlist.Kind.values or not actor.scopes:
        raise Http404(_MISSING)
    connection = mailbox = None
    if match[1] == "connection":
        connections = Connection.objects.visible_to(actor).filter(pk=match[2])
        connection = first_or_404(connections, _MISSING)
    if match[1] == "mailbox":
        mailboxes = Mailbox.objects.visible_to(actor).filter(pk=match[2])
        mailbox = first_or_404(mailboxes, _MISSING)
    key: dict[str, Any] = {"connection": connection, "mailbox": mailbox, "kind": kind}
    rows = Allowlist.objects.select_related("mailbox__connection", "connection")
    return rows.filter(**key).first() or Allowlist(**key)


@require_safe
def allowlists(request: DeskRequest) -> HttpResponse:
    """Show every list that applies to visible mailboxes and its status at the gates,
    and search all entries.
    """
    actor = request.actor
    if chosen := request.GET.get("list"):
        scope, _, kind = chosen.partition("/")
        return redirect(get_visible_list_or_404(scope, kind, request.actor).url)
    text = FindForm(request.GET).value("q") or ""
    entries = (
        AllowEntry.objects.not_removed().visible_to(actor).found_by(text).for_page("")
    )
    named = entries.select_related("allowlist__connection", "allowlist__mailbox")
    found_entries = list(named[: FOUND + 1]) if text else []
    gates = GateList.objects.visible_to(actor).for_page()
    # The choices of a menu: every list that the actor may see, stored or not.
    scopes = [("all", "All mail")]
    for one in Connection.objects.at_work().visible_to(actor).order_by("name"):
        scopes.append((f"connection-{one.pk}", f"Connection {one}"))
    for box in Mailbox.objects.at_work().visible_to(actor).order_by("address"):
        scopes.append((f"mailbox-{box.pk}", f"Mailbox {box}"))
    context = {
        "lists": Allowlist.objects.visible_to(actor).for_overview(timezone.now()),
        "choices": [
            (f"{scope}/{kind}", f"{label}: {words.lower()}")
            for scope, label in scopes
            for kind, words in KINDS.items()
        ],
        "text": text,
        "found": found_entries[:FOUND],
        "found_more": len(found_entries) > FOUND,
        "gates": [gate_status(gate) for gate in gates[:PAGE]],
    }
    return render(request, "policy/allowlists.html", context)


@require_safe
def allowlist(request: DeskRequest, scope: str, kind: str) -> HttpResponse:
    """Show one list: its mode, its status at the gates, and its entries, a page at a
    time.
    """
    return answer_list(request, get_visible_list_or_404(scope, kind, request.actor))


@require_safe
def entry(request: DeskRequest, entry_id: int) -> HttpResponse:
    """Show one entry, removed or not, and what was done to its pattern in its list."""
    visible = AllowEntry.objects.visible_to(request.actor).for_page("")
    row = first_or_404(
        visible.select_related(
            "owner", "allowlist__connection", "allowlist__mailbox"
        ).filter(pk=entry_id),
        "There is no such entry, or you may not see its list.",
    )
    same = AllowEntry.objects.filter(allowlist=row.allowlist, pattern=row.pattern)
    past = same.order_by("-pk").values_list("history", flat=True)
    acts = [one for history in past for one in reversed(history)]
    keys = {one[name] for one in acts for name in ("by", "owner")}
    people = Person.objects.in_bulk(keys - {None})
    context = {
        **head_of(row.allowlist, request.actor),
        "entry": row,
        "acts": [
            {
                **one,
                "at": datetime.fromisoformat(one["at"]),
                "by": people.get(one["by"]),
                "owner": people.get(one["owner"]),
                "ends": datetime.fromisoformat(one["ends"]) if one["ends"] else None,
            }
            for one in acts
        ],
    }
    return render(request, "policy/allow_entry.html", context)


def head_of(at: Allowlist, actor: Actor) -> dict[str, Any]:
    """Return the template context that all pages of one list share."""
    return {
        "at": at,
        "may_change": at.is_administered_by(actor),
    }


def answer_list(
    request: DeskRequest,
    at: Allowlist,
    *,
    error: SentenceError | None = None,
    form: ChangeForm | None = None,
) -> HttpResponse:
    """Show a list. `form` is a filled-in form with errors, if there is one."""
    actor = request.actor
    now = timezone.now()
    find = FindForm(request.GET)
    text = find.value("q") or ""
    after = find.value("after") or ""
    rows = AllowEntry.objects.of_list(at)
    matching = rows.found_by(text)
    entries = list(matching.for_page(after)[: PAGE + 1])
    gates = GateList.objects.visible_to(actor).for_page().of_list(at)
    initial = {
        "owner": getattr(request.user, "email", ""),
        "lines": request.GET.get("add", "")[:320],
    }
    context = {
        **head_of(at, actor),
        "entries": entries[:PAGE],
        "live": rows.live(now).count(),
        "number": matching.count(),
        "is_first_page": not after,
        "next_after": entries[PAGE - 1].pattern if len(entries) > PAGE else "",
        "text": text,
        "gates": [gate_status(gate) for gate in gates[:20]],
        "form": form or ChangeForm(at=at, initial=initial),
    }
    return answer(request, "policy/allowlist.html", context, error, form=form)


def _invalid(
    request: DeskRequest, at: Allowlist, form: ChangeForm
) -> HttpResponse | None:
    """Return the list's page with an error if the actor may not change the list or the
    form is not valid; None if the change can go on.
    """
    if not at.is_administered_by(request.actor):
        return answer_list(request, at, error=ActNotAllowed(_NOT_YOURS))
    if not form.is_valid():
        return answer_list(request, at, form=form)
    return None


@require_POST
def preview_change(request: DeskRequest, scope: str, kind: str) -> HttpResponse:
    """Show what a change would do. Nothing is saved."""
    at = get_visible_list_or_404(scope, kind, request.actor)
    form = ChangeForm(request.POST, request.FILES, at=at)
    return _invalid(request, at, form) or _show(request, at, form)


@require_POST
@reauthenticated
def save(request: DeskRequest, scope: str, kind: str) -> HttpResponse:
    """Save a change, if the list still has the version that the preview showed."""
    at = get_visible_list_or_404(scope, kind, request.actor)
    form = ChangeForm(request.POST, at=at)
    if invalid := _invalid(request, at, form):
        return invalid
    version = form.cleaned_data["version"]
    try:
        saved = apply_change(
            scope=ListScope(at.connection_id, at.mailbox_id),
            kind=at.kind,
            change=form.wanted(at),
            version=version,
            actor=request.actor,
        )
    except StaleAllowlist as error:
        fresh = get_visible_list_or_404(scope, kind, request.actor)
        return _show(request, fresh, form, stale=error.sentence)
    except ActNotAllowed as error:
        return answer_list(request, at, error=error)
    notice = f"Saved as version {saved.version}. It is copied to the gates now."
    if saved.version == version:
        notice = "Nothing changed."
    return redirect_with_notice(request, notice, at.url)


def _show(
    request: DeskRequest, at: Allowlist, form: ChangeForm, stale: str = ""
) -> HttpResponse:
    """Show the preview of a change of the current list. `stale` is a sentence if
    somebody else changed the list after an earlier preview; then the status is 409.
    """
    actor = request.actor
    now = timezone.now()
    change = form.wanted(at)
    shown = preview(change, at, now=now)
    rehearsal = None
    # Only the gate applies a bypass, so the desk cannot say what it would have done.
    if not at.is_bypass and not shown.is_nothing:
        rehearsal = rehearse(at=at, change=change, actor=actor, now=now)
    typed = request.POST
    resent = [one for one in form.fields if one not in ("version", "file", "csv")]
    context = {
        **head_of(at, actor),
        "preview": shown,
        "mode_after": at.words_of(shown.mode_after),
        "is_empty_in_force": shown.mode_after == "enforce" and not shown.live_after,
        "is_long": shown.mode_after != "off" and shown.live_after > TAKEN_AT_GATE,
        "problems": form.problems,
        "typed": [
            *((name, value) for name in resent for value in typed.getlist(name)),
            ("csv", form.cleaned_data["csv"]),
        ],
        "rehearsal": rehearsal,
        "save_label": save_label(shown, rehearsal),
        "blocked": rehearsal.blocked.most_common(MAX_BLOCKED) if rehearsal else (),
        "stale": stale,
    }
    status = 409 if stale else 200
    return render(request, "policy/allowlist_preview.html", context, status=status)


@require_POST
@reauthenticated
def export(request: DeskRequest, scope: str, kind: str) -> HttpResponseBase:
    """Export the entries that match the search as a CSV file; the ledger records it."""
    at = get_visible_list_or_404(scope, kind, request.actor)
    text = FindForm(request.POST).value("q") or ""
    rows = AllowEntry.objects.of_list(at).found_by(text)
    note_export(at=at, actor=request.actor, number=rows.count(), text=text)
    export_file = StreamingHttpResponse(
        written(rows.for_export()), content_type="text/csv; charset=utf-8"
    )
    export_file["Content-Disposition"] = (
        f'attachment; filename="allowlist-{at.scope}-{at.kind}.csv"'
    )
    return export_file


@require_POST
@reauthenticated
def push_now(request: DeskRequest, gate_id: int) -> HttpResponse:
    """Push a list to its gate now, with an operator's code if one was entered."""
    code = CodeForm(request.POST).value("code") or ""
    try:
        word = try_now(gate_id=gate_id, code=code, actor=request.actor)
    except GateList.DoesNotExist:
        raise Http404(
            "There is no such list at a gate, or you may not see its mailbox."
        ) from None
    except ActNotAllowed as error:
        raise PermissionDenied(error.sentence) from error
    gate = GateList.objects.for_page().get(pk=gate_id)
    status = gate_status(gate)
    notice = f"{status.word}: {status.sentence}"
    if word in ("pushed", "there already"):
        notice = "The gate now has the list."
    return redirect_with_notice(
        request, notice, "allowlist", scope=f"mailbox-{gate.mailbox_id}", kind=gate.kind
    )


def _refusals_page(
    request: DeskRequest, *, error: SentenceError | None = None, **_: Any
) -> HttpResponse:
    """Show the mail that gates refused, newest first: from which key, to whom, by which
    rule.
    """
    actor = request.actor
    before = FindForm(request.GET).value("before")
    visible = GateRefusal.objects.visible_to(actor).for_page(before)
    found_refusals = list(visible[: REFUSALS_PAGE + 1])
    page = found_refusals[:REFUSALS_PAGE]
    rows = [
        {
            "refusal": one,
            "scope": f"mailbox-{one.mailbox_id}",
            "may_allow": one.mailbox and one.mailbox.is_administered_by(actor),
            "others": [each for each in one.recipients if each not in one.refused],
        }
        for one in page
    ]
    context = {
        "rows": rows,
        "next_before": page[-1].pk if len(found_refusals) > REFUSALS_PAGE else None,
        "is_first_page": before is None,
    }
    return answer(request, "policy/refusals.html", context, error)


refusals = require_safe(_refusals_page)


@require_POST
@reauthenticated
@changes(_refusals_page, to="refusals")
def allow_refused(request: DeskRequest, refusal_id: int) -> str:
    """Allow a refused address for seven days."""
    refusal = first_or_404(
        GateRefusal.objects.visible_to(request.actor).filter(pk=refusal_id),
        "There is no such refusal, or you may not see its mailbox.",
    )
    address = request.POST.get("address", "")
    if address not in refusal.refused or refusal.mailbox_id is None:
        raise PolicyRefused("Choose one of the addresses that were refused.")
    allow_for_days(address=address, mailbox=refusal.mailbox_id, actor=request.actor)
    return f"{address} may be written to from {refusal.mailbox} for 7 days. It is copied to the gate now."
