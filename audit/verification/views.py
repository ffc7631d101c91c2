"""The ledger's status: its seals, what checks found, and how a saved checkpoint
compares with it.
"""

from pathlib import Path
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse, JsonResponse
from django.views.decorators.http import require_POST, require_safe

from audit.sealing.preconditions import latest_seal
from audit.verification.checks import CheckRefused, ask_for_check, may_ask
from audit.verification.comparison import CheckedProof, EvidenceUnreadable, compare_with
from audit.verification.status import ledger_status, seals_before
from audit.verifier import countersign_verify
from common.forms import LenientForm, first_error
from common.pages import DeskRequest, page_or_fragment, redirect_with_notice
from common.postgres import clock


class SealsForm(LenientForm):
    """Before which seal a page of the list begins."""

    before = forms.IntegerField(required=False, min_value=1, max_value=2**62)


# What is pasted, in characters, and what is uploaded: the site takes no larger bodies.
MOST_PASTED = 300_000
MOST_UPLOADED = 3 * 1024 * 1024
_TOO_LARGE = "This is too large for this page. Check it with countersign_verify.py on your machine."


class EvidenceForm(forms.Form):
    """A checkpoint that somebody saved, or a proof that somebody received: pasted, or
    as a file.
    """

    pasted = forms.CharField(
        required=False,
        max_length=MOST_PASTED,
        error_messages={"max_length": _TOO_LARGE},
    )
    file = forms.FileField(
        required=False, error_messages={"empty": "The file is empty."}
    )

    def clean_file(self) -> "UploadedFile[bytes] | None":
        """Refuse a file that is too large."""
        found: UploadedFile[bytes] | None = self.cleaned_data["file"]
        if found and (found.size or 0) > MOST_UPLOADED:
            raise forms.ValidationError(_TOO_LARGE)
        return found

    def clean(self) -> dict[str, Any]:
        """Refuse a form with neither."""
        cleaned = super().clean() or {}
        if not self.errors and not cleaned.get("pasted") and not cleaned.get("file"):
            raise forms.ValidationError(
                "Paste a checkpoint or a proof, or choose a file."
            )
        return cleaned

    def content(self) -> bytes:
        """Return the bytes of the file, or else of what was pasted."""
        if file := self.cleaned_data["file"]:
            return bytes(file.read())
        return str(self.cleaned_data["pasted"]).encode("utf-8", "surrogatepass")


def _page(request: DeskRequest, *, status: int = 200, **context: Any) -> HttpResponse:
    """Show the ledger's status; the part that a check changes is asked for alone while
    one is running.
    """
    before = SealsForm(request.GET).value("before")
    rows, next_before = seals_before(before)
    context |= {
        "now": ledger_status(clock()),
        "rows": rows,
        "next_before": next_before,
        "is_first_page": before is None,
        "may_check": may_ask(request.actor),
    }
    return page_or_fragment(
        request,
        page="audit/verify.html",
        fragment="audit/_ledger_state.html",
        context=context,
        status=status,
    )


@require_safe
def ledger_state(request: DeskRequest) -> HttpResponse:
    """Show the ledger's status."""
    return _page(request)


@require_POST
def check_ledger(request: DeskRequest) -> HttpResponse:
    """Have the whole ledger checked."""
    try:
        ask_for_check(request.actor)
    except CheckRefused as refused:
        return _page(
            request, error=str(refused), status=403 if refused.is_denied else 409
        )
    return redirect_with_notice(request, "The full check has started.", "ledger-state")


@require_POST
def compare_ledger(request: DeskRequest) -> HttpResponse:
    """Compare the ledger with a checkpoint that somebody saved, or check a proof."""
    form = EvidenceForm(request.POST, request.FILES)
    pasted = str(request.POST.get("pasted", ""))[:2000]
    if not form.is_valid():
        return _page(
            request, evidence_error=first_error(form)[1], pasted=pasted, status=422
        )
    try:
        found = compare_with(form.content(), actor=request.actor)
    except EvidenceUnreadable as why:
        return _page(request, evidence_error=str(why), pasted=pasted, status=422)
    if isinstance(found, CheckedProof):
        return _page(request, proof=found)
    return _page(request, compared=found, pasted=pasted)


@require_safe
def newest_head(request: DeskRequest) -> HttpResponse:
    """Download the newest checkpoint, to be saved where nobody of the desk can change
    it.
    """
    last = latest_seal()
    if last is None:
        return _page(
            request,
            error="Nothing is sealed yet, so there is no checkpoint.",
            status=409,
        )
    headers = {
        "Content-Disposition": f'attachment; filename="countersign-checkpoint-{last.number}.json"'
    }
    return JsonResponse(
        last.as_json(), json_dumps_params={"ensure_ascii": False}, headers=headers
    )


@require_safe
def verifier(request: DeskRequest) -> HttpResponse:
    """Download the verifier, which needs nothing but Python."""
    return HttpResponse(
        Path(countersign_verify.__file__).read_bytes(),
        content_type="text/x-python; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="countersign_verify.py"'},
    )
