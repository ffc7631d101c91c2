"""The trace of one message, from its beginning: its story in sentences, then every entry; and proofs of it as files."""

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from audit.forms import ProofForm, TraceForm
from audit.models import Entry
from audit.trail import lines
from audit.trail.chapters import chapters_of
from audit.trail.places import places_of
from audit.trail.proof import NothingSealed, Proof, prove
from audit.trail.proof_page import trace_file
from audit.trail.started import started_by
from audit.trail.summary import summary_of
from common.pages import DeskRequest, page_or_fragment

PAGE = 500


@login_required
@require_safe
def trace(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show everything that happened to one message, oldest first, so many entries a page."""
    return _answer(request, public_id, after=TraceForm(request.GET).place())


def _answer(
    request: DeskRequest, public_id: UUID, *, after: int = 0, problem: str = "", status: int = 200
) -> HttpResponse:
    entries = _readable(request, public_id)
    found = lines(entries.after(after).oldest_first()[: PAGE + 1])
    if not found:
        raise Http404("Nothing is recorded of such a message, or it is in a mailbox that you do not see.")
    shown = found[:PAGE]
    next_after = shown[-1].entry.pk if len(found) > PAGE else None
    if request.GET.get("format") == "json":
        told = [line.as_json() for line in shown]
        return JsonResponse({"message": str(public_id), "entries": told, "next_after": next_after})
    before = lines(entries.before(shown[0].entry.pk).newest_first()[:1]) if after else []
    context: dict[str, Any] = {
        "public_id": public_id,
        "summary": summary_of(public_id),
        "chapters": chapters_of(
            shown, places_of(line.entry.pk for line in shown), before=before[0] if before else None
        ),
        "started": started_by(shown) if not after else None,
        "is_first_page": not after,
        "next_after": next_after,
        "problem": problem,
        "now": timezone.now(),
    }
    return page_or_fragment(
        request, page="audit/trace.html", fragment="audit/_trace.html", context=context, status=status
    )


@login_required
@require_POST
def trace_proof_json(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Hand out the proof of one message as JSON."""
    return _hand_out(request, public_id, "json")


@login_required
@require_POST
def trace_proof_text(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Hand out the proof of one message as text for an e-mail."""
    return _hand_out(request, public_id, "txt")


@login_required
@require_POST
def trace_proof_html(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Hand out the trace as one page that checks itself wherever it is opened."""
    return _hand_out(request, public_id, "html")


_TYPES = {"json": "application/json", "txt": "text/plain; charset=utf-8", "html": "text/html; charset=utf-8"}


def _hand_out(request: DeskRequest, public_id: UUID, form: str) -> HttpResponse:
    """Answer with the file. Taking it is noted, so it takes a button: no browser may do so ahead of reading."""
    if not _readable(request, public_id).exists():
        raise Http404("Nothing is recorded of such a message, or it is in a mailbox that you do not see.")
    with_details = ProofForm(request.GET or request.POST).wants_details()
    try:
        proof = prove(public_id, actor=request.actor, form=form, with_details=with_details)
    except NothingSealed as nothing:
        return _answer(request, public_id, problem=nothing.sentence, status=409)
    response = HttpResponse(_written(proof, form), content_type=_TYPES[form])
    response["Content-Disposition"] = f'attachment; filename="countersign-{public_id}.{form}"'
    return response


def _written(proof: Proof, form: str) -> str:
    if form == "html":
        return trace_file(proof)
    return proof.as_json() if form == "json" else proof.as_text()


def _readable(request: DeskRequest, public_id: UUID) -> Any:
    return Entry.objects.readable_by(request.actor).of_message(public_id)
