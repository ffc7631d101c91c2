"""How the ledger stands: its seals, what checks found, and how a head that was kept outside compares with it."""

from pathlib import Path
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from audit.sealing.preconditions import latest_seal
from audit.sealing.signing import head_json
from audit.verification.checks import CheckRefused, ask_for_check, may_ask
from audit.verification.comparison import compare_with
from audit.verification.forms import KeptHeadForm, SealsForm
from audit.verification.status import seals_before, standing
from audit.verifier import countersign_verify
from common.pages import DeskRequest, page_or_fragment
from common.postgres import clock


@login_required
@require_safe
def ledger_state(request: DeskRequest) -> HttpResponse:
    """Show how the ledger stands; the part that a check moves is asked for alone while one is under way."""
    return page_or_fragment(
        request, page="audit/verify.html", fragment="audit/_ledger_state.html", context=_context(request)
    )


@login_required
@require_POST
def check_ledger(request: DeskRequest) -> HttpResponse:
    """Have the whole ledger looked through."""
    try:
        ask_for_check(request.actor)
    except CheckRefused as refused:
        status = 403 if refused.is_denied else 409
        return render(request, "audit/verify.html", {**_context(request), "problem": refused.sentence}, status=status)
    messages.info(request, "The whole ledger is being looked through.", extra_tags="desk")
    return redirect("ledger-state")


@login_required
@require_POST
def compare_ledger(request: DeskRequest) -> HttpResponse:
    """Compare the ledger with a head that somebody kept; the proof is handed out as a file where it is asked for."""
    form = KeptHeadForm(request.POST)
    if not form.is_valid():
        told = {"problem_with_head": form.problem, "head": str(request.POST.get("head", ""))[:2000]}
        return render(request, "audit/verify.html", {**_context(request), **told}, status=422)
    compared = compare_with(form.cleaned_data["head"], actor=request.actor)
    if compared.is_same and form.cleaned_data["wanted"] == "file":
        first, second = compared.kept.number, compared.last.number if compared.last else 0
        return _as_file(compared.proof(), f"countersign-consistency-{first}-{second}.json")
    answer = {"compared": compared, "head": request.POST["head"]}
    return render(request, "audit/verify.html", {**_context(request), **answer})


@login_required
@require_safe
def newest_head(request: DeskRequest) -> HttpResponse:
    """Hand out the newest head, to be kept where nobody of the desk can change it."""
    last = latest_seal()
    if last is None:
        told = {"problem": "Nothing is sealed yet, so there is no head."}
        return render(request, "audit/verify.html", {**_context(request), **told}, status=409)
    return _as_file(head_json(last), f"countersign-head-{last.number}.json")


@login_required
@require_safe
def verifier(request: DeskRequest) -> HttpResponse:
    """Hand out the verifier that needs nothing but Python."""
    answer = HttpResponse(Path(countersign_verify.__file__).read_bytes(), content_type="text/x-python; charset=utf-8")
    answer["Content-Disposition"] = 'attachment; filename="countersign_verify.py"'
    return answer


def _as_file(content: dict[str, Any], name: str) -> HttpResponse:
    answer = JsonResponse(content, json_dumps_params={"ensure_ascii": False})
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _context(request: DeskRequest) -> dict[str, Any]:
    before = SealsForm(request.GET).place()
    rows, next_before = seals_before(before)
    return {
        "now": standing(clock()),
        "rows": rows,
        "next_before": next_before,
        "is_first_page": before is None,
        "may_check": may_ask(request.actor),
    }
