"""Exports of the ledger: preview, progress, download, and the list of earlier ones.

They belong to `people` and not to the ledger, because an export asks for
reauthentication.
"""

from contextlib import suppress
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import (
    require_GET,
    require_POST,
    require_safe,
)

from audit.exports import (
    FORMATS,
    Download,
    ExportForm,
    NotExported,
    begin_export,
    entries_of,
    note_lost_exports,
    request_again,
    start_export,
    take_cut,
)
from audit.models import Export
from audit.search.filters import Filters
from common.actors import Actor, Role
from common.pages import (
    DeskRequest,
    first_or_404,
    page_or_fragment,
    require_get_or_post,
)
from common.postgres import statements_within
from common.time_zones import there, zone_name
from people.models import Person
from people.sign_in.reauthentication import (
    ask_first,
    is_recently_authenticated,
    reauthenticated,
)
from people.sign_in.sessions import is_signed_in

PAGE = 50
# For how many milliseconds a page may count entries.
COUNTED_WITHIN = 4_000


@require_get_or_post
def export(request: DeskRequest) -> HttpResponse:
    """Show a preview of an export, and start it."""
    check_reads_people(request)
    filters = Filters.from_query(request.GET, zone_name())
    form = ExportForm(request.POST or {"format": "csv", "details": "on"})
    error = ""
    if request.method == "POST" and form.is_valid():
        if not is_recently_authenticated(request):
            return ask_first(request)
        try:
            begun = begin_export(
                actor=request.actor, filters=filters, wanted=form.wanted()
            )
            return redirect(f"{reverse('export-one', args=[begun.pk])}?go=1")
        except NotExported as refused:
            error = str(refused)
    elif request.method == "POST":
        error = "Choose CSV or JSON Lines."
    number = None
    # Where counting takes too long, the page shows no number.
    with suppress(OperationalError), statements_within(COUNTED_WITHIN):
        number = entries_of(filters, take_cut(), request.actor).count()
    context = {
        "form": form,
        "error": error,
        "filters": filters,
        "query": filters.query(before=None, after=None),
        "number": number,
        "is_all": request.actor.sees_all(),
        "now": timezone.now(),
    }
    return render(request, "audit/export.html", context, status=422 if error else 200)


@require_safe
def one(request: DeskRequest, export_id: UUID) -> HttpResponse:
    """Show the progress of an export."""
    note_lost_exports()
    found = _found(request, export_id)
    is_own = found.person == request.user.pk
    total = found.rows_total or 0
    context = {
        "export": found,
        "format": FORMATS[found.format].label,
        "is_csv": FORMATS[found.format].kind == "csv",
        "filters": Filters.from_query(found.query, zone_name()),
        "who": _names([found])[found.person],
        "is_own": is_own,
        "goes": "go" in request.GET and found.state == Export.State.ASKED and is_own,
        "name": _file_name(found),
        "total": total,
        # An empty export is finished too.
        "shown_done": found.rows_done
        if total
        else int(found.state == Export.State.DONE),
        "percent": 100 * found.rows_done // max(total, 1),
    }
    return page_or_fragment(
        request,
        page="audit/export_one.html",
        fragment="audit/_export.html",
        context=context,
    )


@require_GET
def export_file(request: DeskRequest, export_id: UUID) -> HttpResponseBase:
    """Download the file. Without a recent reauthentication it leads back to the page's
    button.
    """
    found = _found(request, export_id, own=True)
    page = redirect("export-one", export_id=export_id)
    if not is_recently_authenticated(request):
        messages.info(
            request,
            "Start the download with its button, which may ask who you are.",
            extra_tags="desk",
        )
        return page
    try:
        begun = start_export(found.pk)
    except NotExported as refused:
        messages.warning(request, str(refused), extra_tags="desk")
        return page
    # Not the request's lazy object: the request ends before the download does.
    actor: Actor = request.user.actor(surface="web", address=request.actor.address)  # type: ignore[union-attr]
    session = str(request.session.session_key)

    def stays() -> bool:
        """Whether the person is still active, in this session, with the same roles."""
        now = Person.objects.filter(pk=found.person, is_active=True).first()
        return (
            now is not None
            and is_signed_in(session)
            and set(now.actor(surface="web").scopes) == set(actor.scopes)
        )

    return StreamingHttpResponse(
        Download(begun, actor=actor, stays=stays),
        content_type=FORMATS[found.format].content_type,
        headers={"Content-Disposition": f'attachment; filename="{_file_name(found)}"'},
    )


@require_POST
@reauthenticated
def again(request: DeskRequest, export_id: UUID) -> HttpResponse:
    """Restart an export that was interrupted, or never started."""
    found = _found(request, export_id, own=True)
    if found.state != Export.State.ASKED:
        try:
            request_again(actor=request.actor, export=found.pk)
        except NotExported as refused:
            messages.warning(request, str(refused), extra_tags="desk")
            return redirect("export-one", export_id=export_id)
    return redirect(f"{reverse('export-one', args=[export_id])}?go=1")


@require_safe
def past(request: DeskRequest) -> HttpResponse:
    """List exports, newest first: one's own, or everybody's for an auditor of
    everything.
    """
    check_reads_people(request)
    note_lost_exports()
    of_all = _sees_all(request.actor)
    shown = Export.objects.readable_by(request.actor, all_of_them=of_all).newest_first()
    asked = request.GET.get("before", "")
    try:
        before = parse_datetime(asked)
    except ValueError:
        before = None
    if before and timezone.is_aware(before):
        shown = shown.before(before)
    page = list(shown[: PAGE + 1])
    older = ""
    if len(page) > PAGE:
        page.pop()
        older = urlencode({"before": page[-1].asked_at.isoformat()})
    names = _names(page)
    rows = [
        {
            "export": row,
            "who": names[row.person],
            "format": FORMATS[row.format].label,
            "filters": Filters.from_query(row.query, zone_name()),
        }
        for row in page
    ]
    context = {"rows": rows, "of_all": of_all, "older": older, "is_first": not before}
    return render(request, "audit/exports.html", context)


def check_reads_people(request: DeskRequest) -> None:
    """Raise PermissionDenied for people who are neither admin nor auditor."""
    if not request.actor.looks_after_people:
        raise PermissionDenied


def _sees_all(actor: Actor) -> bool:
    return actor.acting_as(Role.AUDITOR).sees_all()


def _found(request: DeskRequest, export_id: UUID, *, own: bool = False) -> Export:
    """Return an export that the actor may see. Raises Http404 for any other."""
    of_all = not own and _sees_all(request.actor)
    found = first_or_404(
        Export.objects.readable_by(request.actor, all_of_them=of_all).filter(
            pk=export_id
        ),
        "There is no such export, or it is not yours.",
    )
    check_reads_people(request)
    return found


def _names(exports: list[Export]) -> dict[int, str]:
    found = Person.objects.in_bulk({one.person for one in exports})
    return {one.person: str(found.get(one.person, "a former user")) for one in exports}


def _file_name(found: Export) -> str:
    suffix = FORMATS[found.format].kind
    return f"ledger-{there(found.asked_at):%Y-%m-%d-%H%M%S}.{suffix}"
