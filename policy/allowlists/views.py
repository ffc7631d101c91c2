"""The pages of allowlists: all of them, one with its entries and history, changing it
after a preview, and refusals.
"""

import re
from dataclasses import replace
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from common.actors import Actor
from common.mail_addresses import compared
from common.pages import DeskRequest, first_or_404, redirect_with_notice
from mirror.errors import ActNotAllowed
from mirror.models import Connection, Mailbox
from people.models import PendingChange
from people.sign_in.reauthentication import reauthenticated
from policy.allowlists.changes import (
    allow_for_days,
    apply_change,
    changes_in_words,
    note_export,
)
from policy.allowlists.forms import (
    SHOWN,
    AllowBlockedForm,
    ChangeForm,
    CodeForm,
    FindForm,
    ImportForm,
    LineError,
    written,
)
from policy.allowlists.gates import gate_status, try_now
from policy.allowlists.judgement import ListScope, judge, lists_in_force, patterns_of
from policy.allowlists.preview import (
    MAX_OFFERED,
    Draft,
    InvalidDraft,
    blocked_domains,
    pack,
    preview,
    rehearse,
    rehearse_refusals,
    save_label,
    unpack,
)
from policy.errors import StaleAllowlist
from policy.models import AllowChange, AllowEntry, Allowlist, GateList, GateRefusal
from policy.models.allowlists import KINDS

PAGE = 100
REFUSALS_PAGE = 50
# How many found entries the page of all lists shows.
FOUND = 50
# How long an address is allowed from a refusal.
DAYS = 7
# How many changes that were made meanwhile a preview shows.
PREVIEWED = 200
# The note of an address that is allowed from a preview, unless another one is typed.
NOTE = "Written to in the last 30 days"
# How many entries our own gateway accepts in one list (docs/allowlists.md); with more
# it keeps the one that it has.
TAKEN_AT_GATE = 5000
_NOT_YOURS = "Only an admin of everything that this list covers can change it."
_TOO_OLD = "This preview is of another list or person, or more than a day old. Make the change again."
_SCOPE = re.compile(r"all|(connection|mailbox)-([0-9]{1,18})")
_MISSING = "There is no such list, or you may not see it."


def get_visible_list_or_404(scope: str, kind: str, actor: Actor) -> Allowlist:
    """Return the list that a URL names, unsaved where it was never written.

    Raises Http404 where there can be none, or the actor may not see it. The list for
    all mail applies to every mailbox, so everybody who sees a mailbox may see it.
    """
    named = _SCOPE.fullmatch(scope)
    if named is None or kind not in Allowlist.Kind.values or not actor.scopes:
        raise Http404(_MISSING)
    connection = mailbox = None
    if named[1] == "connection":
        connections = Connection.objects.visible_to(actor).filter(pk=named[2])
        connection = first_or_404(connections, _MISSING)
    if named[1] == "mailbox":
        mailboxes = Mailbox.objects.visible_to(actor).filter(pk=named[2])
        mailbox = first_or_404(mailboxes, _MISSING)
    of: dict[str, Any] = {"connection": connection, "mailbox": mailbox, "kind": kind}
    rows = Allowlist.objects.select_related("mailbox__connection", "connection")
    return rows.filter(**of).first() or Allowlist(**of)


@require_safe
def allowlists(request: DeskRequest) -> HttpResponse:
    """Show every list that applies to visible mailboxes and its status at the gates,
    and search all entries.
    """
    actor = request.actor
    if chosen := request.GET.get("list"):
        scope, _, kind = chosen.partition("/")
        return redirect(get_visible_list_or_404(scope, kind, request.actor).url)
    text, _, _ = FindForm(request.GET).found()
    entries = (
        AllowEntry.objects.not_removed().visible_to(actor).found_by(text).for_page("")
    )
    named = entries.select_related("allowlist__connection", "allowlist__mailbox")
    found = list(named[: FOUND + 1]) if text else []
    gates = GateList.objects.visible_to(actor).for_page()
    # Every list visible to the actor, stored or not, to choose from.
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
        "found": found[:FOUND],
        "found_more": len(found) > FOUND,
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
def history(request: DeskRequest, scope: str, kind: str) -> HttpResponse:
    """Show what was changed in a list, by whom, with before and after."""
    at = get_visible_list_or_404(scope, kind, request.actor)
    before = FindForm(request.GET).value("before")
    changes = AllowChange.objects.filter(allowlist=at.pk).for_page(before)
    found = list(changes[: PAGE + 1])
    context = {
        **head_of(at, request.actor),
        "changes": changes_in_words(found[:PAGE]),
        "next_before": found[PAGE - 1].pk if len(found) > PAGE else None,
        "is_first_page": before is None,
    }
    return render(request, "policy/allowlist_history.html", context)


@require_safe
def entry(request: DeskRequest, entry_id: int) -> HttpResponse:
    """Show one entry, removed or not, with its history and a form for it."""
    found = AllowEntry.objects.visible_to(request.actor).for_page("")
    named = found.select_related(
        "owner", "added_by", "allowlist__connection", "allowlist__mailbox"
    )
    row = first_or_404(
        named.filter(pk=entry_id),
        "There is no such entry, or you may not see its list.",
    )
    context = {
        **head_of(row.allowlist, request.actor),
        "entry": row,
        "changes": changes_in_words(row.changes.for_page(None)[:PAGE]),
    }
    return render(request, "policy/allow_entry.html", context)


def head_of(at: Allowlist, actor: Actor) -> dict[str, Any]:
    """Return the context that all pages of one list share."""
    return {
        "at": at,
        "may_change": at.is_administered_by(actor),
        "waiting_changes": PendingChange.objects.visible_to(actor).at(
            "allowlist", at.scope, at.kind
        ),
    }


def answer_list(
    request: DeskRequest,
    at: Allowlist,
    *,
    status: int = 200,
    error: str = "",
    form: ChangeForm | None = None,
) -> HttpResponse:
    """Show a list, where a form was wrong with what was typed."""
    actor = request.actor
    now = timezone.now()
    text, show, after = FindForm(request.GET).found()
    rows = AllowEntry.objects.of_list(at)
    matching = rows.found_by(text).showing(show, now)
    entries = list(matching.for_page(after)[: PAGE + 1])
    gates = GateList.objects.visible_to(actor).for_page()
    mine = gates.of_list(at)
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
        "show": show,
        "shows": SHOWN,
        "gates": [gate_status(gate) for gate in mine[:20]],
        "form": form or ChangeForm(at=at, initial=initial),
        "error": error,
    }
    return render(request, "policy/allowlist.html", context, status=status)


@require_POST
def preview_change(request: DeskRequest, scope: str, kind: str) -> HttpResponse:
    """Show what a change would do. Nothing is saved."""
    at = get_visible_list_or_404(scope, kind, request.actor)
    if not at.is_administered_by(request.actor):
        return answer_list(request, at, status=403, error=_NOT_YOURS)
    if request.POST.get("do") != "allow":
        form = ChangeForm(request.POST, at=at)
        if not form.is_valid():
            return answer_list(request, at, status=422, form=form)
        return _show(request, at, form.draft(), form.parsed.problems)
    # A previewed change once more, with the ticked ones of those it would block as
    # further entries.
    try:
        _, draft = unpack(request.POST.get("change", ""), at, request.actor)
    except InvalidDraft:
        return answer_list(request, at, status=422, error=_TOO_OLD)
    ticked = AllowBlockedForm(request.POST)
    if not ticked.is_valid():
        return _show(request, at, draft, form=ticked, status=422)
    allowed = ticked.put(owner=int(request.actor.id))
    patterns = {one.pattern for one in allowed}
    kept = tuple(one for one in draft.remove if one not in patterns)
    return _show(request, at, replace(draft, put=(*draft.put, *allowed), remove=kept))


@require_safe
@reauthenticated
def import_page(request: DeskRequest, scope: str, kind: str) -> HttpResponse:
    """Show the form that takes a file. Reauthentication comes first, because it would
    lose a chosen file.
    """
    return _import_form(request, get_visible_list_or_404(scope, kind, request.actor))


@require_POST
def preview_import(request: DeskRequest, scope: str, kind: str) -> HttpResponse:
    """Show what a file would change. Nothing is saved."""
    at = get_visible_list_or_404(scope, kind, request.actor)
    if not at.is_administered_by(request.actor):
        return _import_form(request, at, status=403, error=_NOT_YOURS)
    form = ImportForm(request.POST, request.FILES)
    if not form.is_valid():
        return _import_form(request, at, status=422, form=form)
    return _show(request, at, form.draft(), form.parsed.problems)


@require_POST
@reauthenticated
def save(request: DeskRequest, scope: str, kind: str) -> HttpResponse:
    """Save a change as its preview showed it, if the list still is at that version."""
    at = get_visible_list_or_404(scope, kind, request.actor)
    actor = request.actor
    if not at.is_administered_by(actor):
        return answer_list(request, at, status=403, error=_NOT_YOURS)
    try:
        version, draft = unpack(request.POST.get("change", ""), at, actor)
    except InvalidDraft:
        return answer_list(request, at, status=422, error=_TOO_OLD)
    how = "imported" if draft.is_import else "changed"
    shown = preview(draft, at, now=timezone.now()).change
    try:
        saved = apply_change(
            scope=ListScope(at.connection_id, at.mailbox_id),
            kind=at.kind,
            change=shown,
            version=version,
            actor=actor,
            how=how,
        )
    except StaleAllowlist as error:
        fresh = get_visible_list_or_404(scope, kind, request.actor)
        return _show(
            request, fresh, draft, stale=error.sentence, saw=version, status=409
        )
    except ActNotAllowed as error:
        return answer_list(request, at, status=403, error=error.sentence)
    notice = f"Saved as version {saved.version}. It is copied to the gates now."
    if saved.version == version:
        notice = "Nothing changed."
    return redirect_with_notice(request, notice, at.url)


@require_POST
@reauthenticated
def export(request: DeskRequest, scope: str, kind: str) -> HttpResponseBase:
    """Export the filtered entries as a CSV file; the export is recorded in the ledger."""
    at = get_visible_list_or_404(scope, kind, request.actor)
    text, show, _ = FindForm(request.POST).found()
    rows = AllowEntry.objects.of_list(at)
    matching = rows.found_by(text).showing(show, timezone.now())
    note_export(
        at=at, actor=request.actor, number=matching.count(), text=text, show=show
    )
    answer = StreamingHttpResponse(
        written(matching.for_export()), content_type="text/csv; charset=utf-8"
    )
    answer["Content-Disposition"] = (
        f'attachment; filename="allowlist-{at.scope}-{at.kind}.csv"'
    )
    return answer


def _show(
    request: DeskRequest,
    at: Allowlist,
    draft: Draft,
    problems: tuple[LineError, ...] = (),
    *,
    stale: str = "",
    saw: int = 0,
    form: AllowBlockedForm | None = None,
    status: int = 200,
) -> HttpResponse:
    """Show what a draft would change; where it is `stale`, because the list is no
    longer at the version it `saw`.
    """
    actor = request.actor
    now = timezone.now()
    shown = preview(draft, at, now=now)
    try:
        packed = pack(draft, at, actor)
    except ValueError as error:
        return _import_form(request, at, status=422, error=str(error))
    rehearsal = None
    passing: list[GateRefusal] = []
    refused = fewer = 0
    # A bypass is judged at the gate alone.
    if not at.is_bypass and not shown.is_nothing:
        change = shown.change
        rehearsal = rehearse(at=at, change=change, actor=actor, now=now)
        passing, refused = rehearse_refusals(at=at, change=change, actor=actor, now=now)
        fewer = rehearsal.fewer + len(passing)
    blocked = rehearsal.blocked if rehearsal else {}
    ticked = form["allow"].value() if form else None
    changes = AllowChange.objects.filter(allowlist=at.pk).for_page(None)
    context = {
        **head_of(at, actor),
        "preview": shown,
        "mode_after": at.words_of(shown.mode_after),
        "is_empty_in_force": shown.mode_after == "enforce" and not shown.live_after,
        "is_long": shown.mode_after != "off" and shown.live_after > TAKEN_AT_GATE,
        "problems": problems,
        "packed": packed,
        "rehearsal": rehearsal,
        "passing": passing,
        "refused": refused,
        "fewer": fewer,
        "save_label": save_label(
            shown, rehearsal, saw_version=at.version if stale else None
        ),
        "blocked": blocked_domains(blocked, ticked=ticked),
        "blocked_number": len(blocked),
        "blocked_more": max(0, len(blocked) - MAX_OFFERED),
        "form": form or AllowBlockedForm(initial={"note": NOTE}),
        "stale": stale,
        "meanwhile": changes_in_words(changes.filter(version__gt=saw)[:PREVIEWED])
        if stale
        else [],
    }
    return render(request, "policy/allowlist_preview.html", context, status=status)


def _import_form(
    request: DeskRequest,
    at: Allowlist,
    *,
    status: int = 200,
    error: str = "",
    form: ImportForm | None = None,
) -> HttpResponse:
    form = form or ImportForm(initial={"how": "add"})
    context = {
        **head_of(at, request.actor),
        "form": form,
        "problems": form.parsed.problems,
        "error": error,
    }
    return render(request, "policy/allowlist_import.html", context, status=status)


@require_POST
@reauthenticated
def allow_refused(request: DeskRequest, refusal_id: int) -> HttpResponse:
    """Allow a refused address for seven days."""
    visible = GateRefusal.objects.visible_to(request.actor).for_page(None)
    refusal = first_or_404(
        visible.filter(pk=refusal_id),
        "There is no such refusal, or you may not see its mailbox.",
    )
    address = request.POST.get("address", "")
    if address not in refusal.refused or refusal.mailbox_id is None:
        return _refusals_page(
            request, status=422, error="Choose one of the addresses that were refused."
        )
    try:
        changed = allow_for_days(
            address=address, mailbox=refusal.mailbox_id, days=DAYS, actor=request.actor
        )
    except ActNotAllowed as error:
        return _refusals_page(request, status=403, error=error.sentence)
    entry = changed.entries.not_removed().filter(pattern=compared(address)).first()
    notice = f"{address} may be written to from {refusal.mailbox} for {DAYS} days. It is copied to the gate now."
    if entry is None:
        return redirect_with_notice(request, notice, "refusals")
    return redirect_with_notice(request, notice, "allow-entry", entry_id=entry.pk)


@require_POST
@reauthenticated
def push_now(request: DeskRequest, gate_id: int) -> HttpResponse:
    """Push a list that its gate lacks now, with an operator's code."""
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
    now = gate_status(gate)
    notice = f"{now.word}: {now.sentence}"
    if word in ("pushed", "there already"):
        notice = "The gate now has the list."
    return redirect_with_notice(
        request, notice, "allowlist", scope=f"mailbox-{gate.mailbox_id}", kind=gate.kind
    )


def _refusals_page(
    request: DeskRequest, *, status: int = 200, error: str = ""
) -> HttpResponse:
    """List what the gates refused, newest first: who tried, to whom, by which rule."""
    actor = request.actor
    before = FindForm(request.GET).value("before")
    visible = GateRefusal.objects.visible_to(actor).for_page(before)
    found = list(visible[: REFUSALS_PAGE + 1])
    shown = found[:REFUSALS_PAGE]
    in_force = lists_in_force(
        connections={one.connection_id for one in shown},
        patterns=patterns_of(address for one in shown for address in one.refused),
    )
    rows = []
    for one in shown:
        lists = in_force.for_mailbox(one.connection_id, one.mailbox_id)
        passed = judge(one.refused, lists, None, timezone.now()).passed
        rows.append(
            {
                "refusal": one,
                "scope": f"mailbox-{one.mailbox_id}",
                "may_allow": one.mailbox and one.mailbox.is_administered_by(actor),
                "refused": [(address, address in passed) for address in one.refused],
                "others": [each for each in one.recipients if each not in one.refused],
            }
        )
    context = {
        "rows": rows,
        "next_before": shown[-1].pk if len(found) > REFUSALS_PAGE else None,
        "is_first_page": before is None,
        "error": error,
        "days": DAYS,
    }
    return render(request, "policy/refusals.html", context, status=status)


refusals = require_safe(_refusals_page)
