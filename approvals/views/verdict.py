"""Deciding from the browser: a POST with the fingerprint that was shown. Nothing here decides by GET."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST

from approvals import nudges
from approvals.decide import give_verdict, undo_decision
from approvals.errors import AlreadyDecided, ApprovalsError, VerdictNotAllowed
from approvals.forms import MessageForm, VerdictForm
from approvals.refusals import note_refusal
from approvals.views.message import answer_with_message, back_to_message, find_message
from common.pages import DeskRequest
from people.actors import Actor


@login_required
@require_POST
def verdict(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Take one verdict: 409 when somebody was first or the message changed, 422 for a bad form; typed text stays.

    What changed since the version that was posted is shown in the same answer.
    """
    actor: Actor = request.actor
    message = find_message(actor, public_id)
    typed = {"outcome": request.POST.get("outcome", ""), "reason": request.POST.get("reason", "")}
    since = MessageForm({"since": request.POST.get("fingerprint", "")}).read_before()
    form = VerdictForm(request.POST)
    if not form.is_valid():
        problem = form.first_error()
        return answer_with_message(request, public_id, status=422, problem=problem, typed=typed, since=since)
    now = timezone.now()
    try:
        given = give_verdict(message=public_id, actor=actor, now=now, **form.cleaned_data)
    except ApprovalsError as error:
        note_refusal(message, actor=actor, outcome=form.cleaned_data["outcome"], sentence=error.sentence)
        status = 403 if isinstance(error, VerdictNotAllowed) else 409
        return answer_with_message(request, public_id, status=status, problem=error.sentence, typed=typed, since=since)
    nudges.execute(given.decision, now=now)
    return back_to_message(request, public_id)


@login_required
@require_POST
def undo(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Take a decision back while it has not left."""
    actor: Actor = request.actor
    find_message(actor, public_id)
    try:
        undo_decision(message=public_id, actor=actor, now=timezone.now())
    except (AlreadyDecided, VerdictNotAllowed) as error:
        status = 409 if isinstance(error, AlreadyDecided) else 403
        return answer_with_message(request, public_id, status=status, problem=error.sentence)
    return back_to_message(request, public_id)
