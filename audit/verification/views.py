"""The page of the ledger's status: how far it is sealed, where checkpoints are stored,
and the result of the last check. On it people start a full check, compare the ledger
with a saved checkpoint, check a proof, and download the newest checkpoint and the
verifier.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.http import HttpResponse, JsonResponse
from django.views.decorators.http import require_POST, require_safe

from audit.models import Anchor, Check, Seal
from audit.sealing.signing import latest_seal
from audit.sealing.status import COUNTED, SealingState, sealing_state
from audit.verification.checks import ask_for_check, may_ask
from audit.verification.comparison import EvidenceUnreadable, check_evidence
from audit.verifier import countersign_verify
from common.errors import SentenceError
from common.pages import (
    VERBATIM,
    DeskRequest,
    DrawnForm,
    LenientForm,
    changes,
    page_or_fragment,
)
from common.postgres import clock

# Seals of a page.
SEALS = 25


@dataclass(frozen=True)
class LedgerStatus:
    """The status of the ledger at one moment."""

    sealing: SealingState
    # The last finished check, the running one, and the newest if it was given up.
    check: Check | None
    running: Check | None
    given_up: Check | None
    # The newest checkpoint of each location outside the database.
    locations: list[Anchor]

    @property
    def condition(self) -> str:
        """The most urgent of the states that apply, as a word for the template.
        "inside": the ledger is sealed, but the newest checkpoints are only inside the
        database.
        """
        state = self.sealing
        if self.check and self.check.is_broken:
            return "broken"
        if not state.is_on:
            return "off"
        if state.is_stopped:
            return "stopped"
        if state.is_late:
            return "late"
        if not state.last:
            return "empty"
        return "inside" if state.why else "well"

    @property
    def unsealed(self) -> str:
        """How many entries are not sealed yet, for people."""
        number = self.sealing.unsealed
        return f"more than {COUNTED:,}" if number > COUNTED else f"{number:,}"

    @property
    def to_check(self) -> int:
        """About how many entries a running check has to check."""
        last = self.sealing.last
        size = (last.size if last else 0) + self.sealing.unsealed
        return max(size, self.running.entries if self.running else 0)

    @cached_property
    def asked_by(self) -> str:
        """Who asked for the check that is shown; empty for the daily one."""
        check = self.running or self.check
        if not check or check.asked_by is None:
            return ""
        person = get_user_model()._default_manager.filter(pk=check.asked_by).first()
        return str(person) if person else f"person {check.asked_by}"


class SealsForm(LenientForm):
    """The number of the seal before which a page of the list begins, newest first."""

    before = forms.IntegerField(required=False, min_value=1, max_value=2**62)


# The most that can be pasted, in characters, and uploaded, in bytes.
MOST_PASTED = 300_000
MOST_UPLOADED = 3 * 1024 * 1024
_TOO_LARGE = "This is too large for this page. Check it with countersign_verify.py on your machine."


class EvidenceForm(DrawnForm):
    """A checkpoint that somebody saved, or a proof that somebody received: pasted, or
    as a file.
    """

    pasted = forms.CharField(
        required=False,
        max_length=MOST_PASTED,
        label="Checkpoint or proof",
        help_text="A line of the seals' file, a checkpoint that you downloaded, the post of a Discord channel, or a "
        "proof file. Use your own copy: a copy that the desk kept proves nothing.",
        widget=forms.Textarea({**VERBATIM, "rows": 4}),
        error_messages={"max_length": _TOO_LARGE},
    )
    file = forms.FileField(
        required=False,
        label="Or a file",
        widget=forms.FileInput({"accept": ".json, .jsonl, .txt"}),
        error_messages={"empty": "The file is empty."},
    )

    def clean(self) -> None:
        """Refuse a form without text and file, and a file that is too large."""
        cleaned = self.cleaned_data
        file = cleaned.get("file")
        if file and file.size > MOST_UPLOADED:
            self.add_error("file", _TOO_LARGE)
        if not self.errors and not cleaned.get("pasted") and not file:
            self.add_error("pasted", "Paste a checkpoint or a proof, or choose a file.")

    def content(self) -> bytes:
        """Return the bytes of the file, or else of the pasted text."""
        if file := self.cleaned_data["file"]:
            return bytes(file.read())
        return str(self.cleaned_data["pasted"]).encode("utf-8", "surrogatepass")


def _page(
    request: DeskRequest,
    *,
    error: SentenceError | None = None,
    status: int = 200,
    **context: Any,
) -> HttpResponse:
    """Show the ledger's status. While a check runs, the page asks again and again for
    the fragment that changes.
    """
    before = SealsForm(request.GET).value("before")
    seals = Seal.objects.order_by("-number")
    found_seals = list(
        (seals.filter(number__lt=before) if before else seals)[: SEALS + 1]
    )
    checks = Check.objects.newest_first()
    newest = checks.first()
    # The newest anchor of each location.
    newest_first = Anchor.objects.order_by("-kind", "-place", "-seal")
    locations = list(newest_first.distinct("kind", "place"))
    locations.sort(key=lambda anchor: (-anchor.seal, anchor.place))
    ledger_status = LedgerStatus(
        sealing_state(clock()),
        checks.finished().first(),
        checks.running().first(),
        newest if newest and newest.state == Check.State.ENDED else None,
        locations[:50],
    )
    context = {"form": EvidenceForm(), **context}
    context |= {
        "now": ledger_status,
        "rows": found_seals[:SEALS],
        "next_before": found_seals[SEALS - 1].number
        if len(found_seals) > SEALS
        else None,
        "is_first_page": before is None,
        "may_check": may_ask(request.actor),
    }
    return page_or_fragment(
        request,
        page="audit/verify.html",
        fragment="audit/_ledger_state.html",
        context=context,
        error=error,
        status=status,
    )


ledger_state = require_safe(_page)


@require_POST
@changes(_page, to="ledger-state")
def check_ledger(request: DeskRequest) -> str:
    """Start a check of the whole ledger."""
    ask_for_check(request.actor)
    return "The full check has started."


@require_POST
def compare_ledger(request: DeskRequest) -> HttpResponse:
    """Compare the ledger with a checkpoint that somebody saved, or check a proof."""
    form = EvidenceForm(request.POST, request.FILES)
    if form.is_valid():
        try:
            evidence = check_evidence(form.content(), actor=request.actor)
        except EvidenceUnreadable as why:
            form.add_error("pasted", str(why))
        else:
            return _page(request, evidence=evidence)
    # A huge text is shown cut.
    form.show("pasted", form.data.get("pasted", "")[:2000])
    return _page(request, form=form, status=422)


@require_safe
def newest_head(request: DeskRequest) -> HttpResponse:
    """Download the newest checkpoint, to be saved where nobody who runs the desk can
    change it.
    """
    last = latest_seal()
    if not last:
        unsealed = SentenceError("Nothing is sealed yet, so there is no checkpoint.")
        return _page(request, error=unsealed)
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
