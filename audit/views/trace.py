"""The trace of one message, from its beginning."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from audit.models import Entry
from audit.trail import lines
from common.pages import DeskRequest, page_or_fragment


@login_required
@require_safe
def trace(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show everything that happened to one message, oldest first, from what started it."""
    entries = Entry.objects.readable_by(request.actor).of_message(public_id).oldest_first()
    found = lines(entries[:1000])
    if not found:
        raise Http404("Nothing is recorded of such a message, or it is in a mailbox that you do not see.")
    if request.GET.get("format") == "json":
        return JsonResponse({"message": str(public_id), "entries": [line.as_json() for line in found]})
    started = next((line.trigger for line in found if line.trigger), {})
    subject = next((line.details["subject"] for line in reversed(found) if line.details.get("subject")), "")
    fingerprint = next((line.entry.fingerprint for line in reversed(found) if line.entry.fingerprint), "")
    context = {
        "lines": found,
        "public_id": public_id,
        "trigger": started,
        "direction": next((line.details["direction"] for line in found if line.details.get("direction")), ""),
        "subject": subject,
        "fingerprint": fingerprint,
        "now": timezone.now(),
    }
    return page_or_fragment(request, page="audit/trace.html", fragment="audit/_trace.html", context=context)
