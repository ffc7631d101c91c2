"""The page on which a high-risk message is approved: its recipients typed out, and each serious finding to be read.

An ordinary approval has no such step; this one takes no key alone. It works without scripts.
"""

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from approvals import wakeups
from approvals.decisions.decide import give_verdict
from approvals.decisions.high_risk import Asked, HighRiskForm, serious_findings, what_to_type
from approvals.decisions.refusals import note_refusal
from approvals.decisions.ruling import ruled
from approvals.errors import VerdictNotAllowed
from approvals.message_page.content.addresses import address_lines
from approvals.message_page.content.allowlist_notes import with_lists
from approvals.message_page.verdict_views import go_on
from approvals.message_page.views import answer_with_message, find_message
from approvals.queue.pane import approve_label
from approvals.queue.views import filters_of
from common.pages import DeskRequest
from mirror.errors import DeskError
from mirror.models import Message
from mirror.states import Outcome
from mirror.store import stored_content
from mirror.threads.conversation import conversation_of
from people.actors import Actor
from risk import Finding


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def approve(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Ask once more, with everything that is serious in sight; on POST take the approval if all of it was read."""
    message = find_message(request.actor, public_id)
    findings = serious_findings(message)
    if message.revision is None or not findings:
        # Nothing to be careful about: the page of the message itself is where it is decided.
        query = filters_of(request).query()
        path = reverse("message", kwargs={"public_id": message.public_id})
        return redirect(f"{path}?{query}" if query else path)
    asked = _asked(message, findings)
    if request.method != "POST":
        return _page(request, message, findings, HighRiskForm(findings=findings, asked=asked))
    form = HighRiskForm(request.POST, findings=findings, asked=asked)
    if not form.is_valid():
        return _page(request, message, findings, form, problem=form.first_error(), status=422)
    return _decide(request, message, form)


def _decide(request: DeskRequest, message: Message, form: HighRiskForm) -> HttpResponse:
    actor: Actor = request.actor
    now, told = timezone.now(), form.cleaned_data
    try:
        given = give_verdict(
            message=message.public_id,
            actor=actor,
            outcome=Outcome.APPROVE,
            fingerprint=told["fingerprint"],
            reason="",
            now=now,
            thread_read=int(told["thread_read"] or 0),
            risk_read=told["risk_read"],
        )
    except DeskError as error:
        note_refusal(message, actor=actor, outcome=Outcome.APPROVE, sentence=error.sentence)
        typed = {"outcome": Outcome.APPROVE, "reason": "", "preset": ""}
        status = 403 if isinstance(error, VerdictNotAllowed) else 409
        return answer_with_message(
            request, message.public_id, status=status, problem=error.sentence, typed=typed, since=told["fingerprint"]
        )
    wakeups.execute(given.decision, now=now)
    return go_on(request, message)


def _asked(message: Message, findings: tuple[Finding, ...]) -> Asked:
    assert message.revision is not None, "only what was fetched has findings"
    pieces = {piece.lower() for one in findings for piece in one.evidence}
    content = stored_content(message.revision)
    return what_to_type(content, is_inbound=message.direction == "inbound", suspicious=pieces)


def _page(
    request: DeskRequest,
    message: Message,
    findings: tuple[Finding, ...],
    form: HighRiskForm,
    *,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    assert message.revision is not None, "only what was fetched has findings"
    actor: Actor = request.actor
    content = stored_content(message.revision)
    ruling, judged = ruled(message, actor=actor, now=timezone.now())
    lines = with_lists(address_lines(message, content, actor=actor, findings=message.revision.findings), judged)
    wanted = ("From",) if message.direction == "inbound" else ("To", "Cc", "Bcc")
    context: dict[str, Any] = {
        "message": message,
        "revision": message.revision,
        "fields": [line for line in lines if line.label in wanted],
        "findings": findings,
        "form": form,
        "asked": form.asked,
        "ticked": request.POST.getlist("risk_read"),
        "typed": request.POST.get("typed", ""),
        "wrong": next(iter(form.errors), ""),
        "problem": problem,
        "approve_label": approve_label(content, message),
        "ruling": ruling,
        "conversation": conversation_of(message),
        "queue_query": f"?{query}" if (query := filters_of(request).query()) else "",
    }
    return render(request, "approvals/high_risk.html", context, status=status)
