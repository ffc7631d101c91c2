"""The page that exports the ledger: it shows how many entries the file would have, and
sends the file.

It is in `people` and not in `audit`, because an export asks for reauthentication.
"""

from contextlib import suppress

from django.db import OperationalError
from django.http import HttpResponseBase, StreamingHttpResponse
from django.utils import timezone

from audit.exports import (
    ExportForm,
    Format,
    NotExported,
    begin_export,
    entries_of,
    take_cut,
)
from audit.search.filters import Filters
from common.actors import Actor
from common.pages import DeskRequest, answer, only_for, require_get_or_post
from common.postgres import statements_within
from common.time_zones import local_time, zone_name
from people.models import Person
from people.sign_in.reauthentication import ask_first, is_recently_authenticated
from people.sign_in.sessions import is_signed_in

# Counting the entries may take at most this many milliseconds.
COUNTED_WITHIN = 4_000


@require_get_or_post
def export(request: DeskRequest) -> HttpResponseBase:
    """Show how many entries an export would have and, after a post, send the file."""
    check_reads_people(request)
    if not is_recently_authenticated(request):
        return ask_first(request)
    filters = Filters.from_query(request.GET, zone_name())
    form = ExportForm(request.POST or None, initial={"format": "csv", "details": True})
    if form.is_valid():
        try:
            return _download(request, filters, form.wanted())
        except NotExported as refused:
            form.add_error(None, str(refused))
    number = None
    # If counting takes too long, the page shows no number.
    with suppress(OperationalError), statements_within(COUNTED_WITHIN):
        number = entries_of(filters, take_cut(), request.actor).count()
    context = {
        "form": form,
        "filters": filters,
        "query": filters.query(before=None, after=None),
        "number": number,
        "is_all": request.actor.sees_all(),
        "now": timezone.now(),
    }
    return answer(request, "audit/export.html", context, form=form)


def _download(
    request: DeskRequest, filters: Filters, wanted: Format
) -> StreamingHttpResponse:
    # Made now, not by the lazy `request.actor`: the request ends before the download.
    actor: Actor = request.user.actor(surface="web", address=request.actor.address)  # type: ignore[union-attr]
    session = str(request.session.session_key)

    def stays() -> bool:
        """Whether the person is still active, in this session, with the same roles."""
        person = Person.objects.filter(pk=actor.id, is_active=True).first()
        return (
            person is not None
            and is_signed_in(session)
            and set(person.actor(surface="web").scopes) == set(actor.scopes)
        )

    name = f"ledger-{local_time(timezone.now()):%Y-%m-%d-%H%M%S}.{wanted.kind}"
    return StreamingHttpResponse(
        begin_export(actor=actor, filters=filters, wanted=wanted, stays=stays),
        content_type=wanted.content_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def check_reads_people(request: DeskRequest) -> None:
    """Raise PermissionDenied for people who are neither admin nor auditor."""
    only_for("an admin or auditor", request.actor.looks_after_people)
