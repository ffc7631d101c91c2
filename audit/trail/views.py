"""The page with the audit trail of one message (answers in sentences, then all its
entries, the oldest first), and the download of proofs of the message.
"""

from typing import Any
from uuid import UUID

from django import forms
from django.http import Http404, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST, require_safe

from audit.models import Entry, EntryQuerySet
from audit.trail import lines
from audit.trail.answers import message_origin, summary_of
from audit.trail.proof import NotProvable, prove, readable_proof
from audit.trail.story import chapters_of
from common.pages import DeskRequest, LenientForm, page_or_fragment

# Entries of a page.
PAGE = 500
_UNKNOWN = "No such message is recorded, or it is in a mailbox that you may not see."
_TYPES = {"json": "application/json", "html": "text/html; charset=utf-8"}


class PageForm(LenientForm):
    """The number of the entry after which a page of the trail begins."""

    after = forms.IntegerField(required=False, min_value=0, max_value=2**63 - 1)


def _page(
    request: DeskRequest, public_id: UUID, *, error: str = "", status: int = 200
) -> HttpResponse:
    """Show everything that happened to one message, oldest first, PAGE entries a page:
    as a page or its fragment, or as JSON if that is asked for.
    """
    after = PageForm(request.GET).value("after") or 0
    entries = _readable(request, public_id)
    found_entries = lines(entries.filter(pk__gt=after).oldest_first()[: PAGE + 1])
    if not found_entries:
        raise Http404(_UNKNOWN)
    shown = found_entries[:PAGE]
    next_after = shown[-1].pk if len(found_entries) > PAGE else None
    if request.GET.get("format") == "json":
        answer = {
            "message": str(public_id),
            "entries": [line.as_json() for line in shown],
            "next_after": next_after,
        }
        return JsonResponse(answer)
    before = (
        lines(entries.filter(pk__lt=shown[0].pk).newest_first()[:1]) if after else []
    )
    context: dict[str, Any] = {
        "public_id": public_id,
        "summary": summary_of(public_id),
        "chapters": chapters_of(shown, before=before[0] if before else None),
        "started": message_origin(shown) if not after else None,
        "is_first_page": not after,
        "next_after": next_after,
        "error": error,
    }
    return page_or_fragment(
        request,
        page="audit/trace.html",
        fragment="audit/_trace.html",
        context=context,
        status=status,
    )


message_trail = require_safe(_page)


@require_POST
def proof(request: DeskRequest, public_id: UUID, form: str) -> HttpResponse:
    """Download the proof of one message. The download is recorded, so it is a POST,
    which no browser prefetches.
    """
    if not _readable(request, public_id).exists():
        raise Http404(_UNKNOWN)
    try:
        # Without personal details, the proof has their hashes.
        made = prove(
            public_id,
            actor=request.actor,
            form=form,
            with_details="details" not in request.POST,
        )
    except NotProvable as why:
        return _page(request, public_id, error=str(why), status=409)
    text = readable_proof(made) if form == "html" else made.text
    headers = {
        "Content-Disposition": f'attachment; filename="countersign-{public_id}.{form}"'
    }
    return HttpResponse(text, content_type=_TYPES[form], headers=headers)


def _readable(request: DeskRequest, public_id: UUID) -> EntryQuerySet:
    return Entry.objects.readable_by(request.actor).of_message(public_id)
