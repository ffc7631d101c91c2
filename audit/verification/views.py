"""The ledger's status: its seals, what checks found, and how a saved head compares with it."""

from pathlib import Path
from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, JsonResponse
from django.views.decorators.http import require_POST, require_safe

from audit.sealing.preconditions import latest_seal
from audit.sealing.signing import head_json
from audit.verification.checks import CheckRefused, ask_for_check, may_ask
from audit.verification.comparison import NoHead, SavedHead, compare_with, read_head
from audit.verification.status import ledger_status, seals_before
from audit.verifier import countersign_verify
from common.forms import first_error
from common.pages import DeskRequest, page_or_fragment, redirect_with_notice
from common.postgres import clock


class SealsForm(forms.Form):
    """Before which seal a page of the list begins."""

    before = forms.IntegerField(required=False, min_value=1, max_value=2**62)

    def number(self) -> int | None:
        """Return the number, None for the newest page or what is no number."""
        return self.cleaned_data["before"] if self.is_valid() else None


class HeadForm(forms.Form):
    """A head that somebody saved, and whether the proof is wanted as a file."""

    # A head is about a thousand characters; of a file, its last lines.
    head = forms.CharField(
        max_length=20_000,
        error_messages={
            "required": "Paste the checkpoint that you saved.",
            "max_length": "This is too long for a checkpoint. Paste a single line of the seals' file.",
        },
    )
    wanted = forms.ChoiceField(choices=[("file", "Download the proof")], required=False)

    def clean_head(self) -> SavedHead:
        """Return the head, or say why it is none."""
        try:
            return read_head(self.cleaned_data["head"])
        except NoHead as why:
            raise forms.ValidationError(str(why)) from None


def _page(request: DeskRequest, *, status: int = 200, **context: Any) -> HttpResponse:
    """Show the ledger's status; the part that a check changes is asked for alone while one is running."""
    before = SealsForm(request.GET).number()
    rows, next_before = seals_before(before)
    context |= {
        "now": ledger_status(clock()),
        "rows": rows,
        "next_before": next_before,
        "is_first_page": before is None,
        "may_check": may_ask(request.actor),
    }
    page, fragment = "audit/verify.html", "audit/_ledger_state.html"
    return page_or_fragment(request, page=page, fragment=fragment, context=context, status=status)


@login_required
@require_safe
def ledger_state(request: DeskRequest) -> HttpResponse:
    """Show the ledger's status."""
    return _page(request)


@login_required
@require_POST
def check_ledger(request: DeskRequest) -> HttpResponse:
    """Have the whole ledger checked."""
    try:
        ask_for_check(request.actor)
    except CheckRefused as refused:
        return _page(request, error=str(refused), status=403 if refused.is_denied else 409)
    return redirect_with_notice(request, "The full check has started.", "ledger-state")


@login_required
@require_POST
def compare_ledger(request: DeskRequest) -> HttpResponse:
    """Compare the ledger with a head that somebody saved; the proof is handed out as a file where it is asked for."""
    form = HeadForm(request.POST)
    if not form.is_valid():
        return _page(
            request, head_error=first_error(form)[1], head=str(request.POST.get("head", ""))[:2000], status=422
        )
    compared = compare_with(form.cleaned_data["head"], actor=request.actor)
    if compared.is_same and form.cleaned_data["wanted"] == "file":
        first, second = compared.head.number, compared.last.number if compared.last else 0
        return _as_file(compared.proof(), f"countersign-consistency-{first}-{second}.json")
    return _page(request, compared=compared, head=request.POST["head"])


@login_required
@require_safe
def newest_head(request: DeskRequest) -> HttpResponse:
    """Download the newest head, to be saved where nobody of the desk can change it."""
    last = latest_seal()
    if last is None:
        return _page(request, error="Nothing is sealed yet, so there is no checkpoint.", status=409)
    return _as_file(head_json(last), f"countersign-head-{last.number}.json")


@login_required
@require_safe
def verifier(request: DeskRequest) -> HttpResponse:
    """Download the verifier, which needs nothing but Python."""
    return HttpResponse(
        Path(countersign_verify.__file__).read_bytes(),
        content_type="text/x-python; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="countersign_verify.py"'},
    )


def _as_file(content: dict[str, Any], name: str) -> HttpResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return JsonResponse(content, json_dumps_params={"ensure_ascii": False}, headers=headers)
