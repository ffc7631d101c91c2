"""Changing an allowlist in two steps: what it would do, rehearsed on real mail, and then saving it as it was shown."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from common.pages import DeskRequest
from people.actors import Actor
from people.sign_in.reauthentication import reauthenticated
from policy.allowlists.changes import apply_change
from policy.allowlists.csv_files import Given, Problem, written
from policy.allowlists.drafts import Draft, Preview, Unpackable, pack, preview, unpack
from policy.allowlists.exporting import note_export
from policy.allowlists.forms import ChangeForm, FindForm, ImportForm, first_error
from policy.allowlists.history import told_changes
from policy.allowlists.refused_mail import Passing, would_pass
from policy.allowlists.rehearsal import Rehearsal, rehearse
from policy.allowlists.scopes import ListAt
from policy.allowlists.views import answer_list, head_of, visible_list
from policy.allowlists.wording import mode_words
from policy.errors import AllowlistNotAllowed, StaleAllowlist
from policy.models import AllowEntry

# Of entries and of what was not understood, so many are shown of each.
SHOWN = 200
# What our own gateway takes in one list (docs/allowlists.md): with more it keeps the list that it has.
TAKEN_AT_GATE = 5000
_NOT_YOURS = "Only an admin of all that this list is for can change it."
_TOO_OLD = "This preview is of another list, of somebody else, or more than a day old. Make the change once more."


@dataclass(frozen=True)
class Tried:
    """What a change would have done in the last 30 days, and what goes by it at the gate alone."""

    rehearsal: Rehearsal | None
    passing: Passing | None

    @property
    def fewer(self) -> int:
        """How many messages fewer would have been refused: here, and at the gate."""
        return (self.rehearsal.fewer if self.rehearsal else 0) + (len(self.passing.rows) if self.passing else 0)


@login_required
@require_POST
def preview_change(request: DeskRequest, scope: str, kind: str) -> HttpResponse:
    """Show what a change would do. Nothing is saved."""
    at = visible_list(request, scope, kind)
    form = ChangeForm(request.POST, at=at, now=timezone.now())
    if not at.may_change(request.actor):
        return answer_list(request, at, status=403, wrong=("", _NOT_YOURS), typed=request.POST)
    if not form.is_valid():
        return answer_list(request, at, status=422, wrong=first_error(form), typed=request.POST)
    return _show(request, at, form.draft(), form.given)


@login_required
@require_safe
@reauthenticated
def import_page(request: DeskRequest, scope: str, kind: str) -> HttpResponse:
    """Show the form that takes a file. Who one is is asked before, because a chosen file would not outlast that."""
    return _import_form(request, visible_list(request, scope, kind))


@login_required
@require_POST
def preview_import(request: DeskRequest, scope: str, kind: str) -> HttpResponse:
    """Show what a file would change. Nothing is saved."""
    at = visible_list(request, scope, kind)
    if not at.may_change(request.actor):
        return _import_form(request, at, status=403, wrong=("", _NOT_YOURS))
    form = ImportForm(request.POST, request.FILES)
    if not form.is_valid():
        return _import_form(request, at, status=422, wrong=first_error(form), problems=form.given.problems)
    return _show(request, at, form.draft(), form.given)


@login_required
@require_POST
@reauthenticated
def save(request: DeskRequest, scope: str, kind: str) -> HttpResponse:
    """Save a change as its preview showed it, if the list still is at that version."""
    at, actor = visible_list(request, scope, kind), request.actor
    if not at.may_change(actor):
        return answer_list(request, at, status=403, wrong=("", _NOT_YOURS))
    try:
        version, draft = unpack(request.POST.get("change", ""), at, actor)
    except Unpackable:
        return answer_list(request, at, status=422, wrong=("", _TOO_OLD))
    now, how = timezone.now(), "imported" if draft.is_import else "changed"
    shown = preview(draft, at, now=now).change
    try:
        saved = apply_change(place=at.place, kind=at.kind, change=shown, version=version, actor=actor, now=now, how=how)
    except StaleAllowlist as error:
        fresh = visible_list(request, scope, kind)
        return _show(request, fresh, draft, Given(), stale=(error.sentence, version), status=409)
    except AllowlistNotAllowed as error:
        return answer_list(request, at, status=403, wrong=("", error.sentence))
    said = f"Saved: version {saved.version}. The gates get it by themselves."
    if saved.version == version:
        said = "Nothing was to change, so it stayed as it was."
    messages.info(request, said, extra_tags="desk")
    return redirect(at.url)


@login_required
@require_POST
@reauthenticated
def export(request: DeskRequest, scope: str, kind: str) -> HttpResponseBase:
    """Hand out the entries that the filter shows as a CSV file; that it was done stands in the ledger."""
    at = visible_list(request, scope, kind)
    text, show, _ = FindForm(request.POST).found()
    rows = at.row.entries.in_place() if at.row else AllowEntry.objects.none()
    matching = rows.found_by(text).showing(show, timezone.now())
    note_export(at=at, actor=request.actor, number=matching.count(), text=text, show=show)
    answer = StreamingHttpResponse(written(matching.for_export()), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="allowlist-{at.scope}-{at.kind}.csv"'
    return answer


def _show(
    request: DeskRequest,
    at: ListAt,
    draft: Draft,
    given: Given,
    *,
    stale: tuple[str, int] | None = None,
    status: int = 200,
) -> HttpResponse:
    actor = request.actor
    shown = preview(draft, at, now=timezone.now())
    try:
        packed = pack(draft, at, actor)
    except ValueError as error:
        return _import_form(request, at, status=422, wrong=("file", str(error)))
    context = {
        **head_of(at, actor),
        "preview": shown,
        "added": shown.added[:SHOWN],
        "changed": shown.changed[:SHOWN],
        "removed": shown.removed[:SHOWN],
        "mode_after": mode_words(at.kind, shown.mode_after),
        "is_empty_in_force": shown.mode_after == "enforce" and not shown.live_after,
        "is_long": shown.mode_after != "off" and shown.live_after > TAKEN_AT_GATE,
        "problems": given.problems[:SHOWN],
        "problems_more": max(0, len(given.problems) - SHOWN),
        "packed": packed,
        "tried": _tried(at, shown, actor),
        "stale": stale[0] if stale else "",
        "meanwhile": told_changes(at.row.changes.after_version(stale[1])[:SHOWN]) if stale and at.row else [],
    }
    return render(request, "approvals/allowlist_preview.html", context, status=status)


def _tried(at: ListAt, shown: Preview, actor: Actor) -> Tried:
    if at.is_bypass or shown.is_nothing:
        return Tried(None, None)
    now = timezone.now()
    rehearsal = rehearse(place=at.place, kind=at.kind, change=shown.change, actor=actor, now=now)
    return Tried(rehearsal, would_pass(at, shown.change, actor, now=now))


def _import_form(
    request: DeskRequest,
    at: ListAt,
    *,
    status: int = 200,
    wrong: tuple[str, str] = ("", ""),
    problems: tuple[Problem, ...] = (),
) -> HttpResponse:
    context: dict[str, Any] = {
        **head_of(at, request.actor),
        "wrong_field": wrong[0],
        "problem": wrong[1],
        "problems": problems[:SHOWN],
        "problems_more": max(0, len(problems) - SHOWN),
        "how": request.POST.get("how", "add"),
    }
    return render(request, "approvals/allowlist_import.html", context, status=status)
