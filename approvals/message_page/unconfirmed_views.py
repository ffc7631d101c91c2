"""What a person does about a decision whose call may have left: withdraw it, send it again, say what became of it."""

from collections.abc import Callable
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST

from approvals import wakeups
from approvals.decisions.forms import SettleForm
from approvals.decisions.withdraw import confirm_approval, settle_by_hand, withdraw_decision
from approvals.errors import VerdictNotAllowed
from approvals.message_page.views import answer_with_message, back_to_message, find_bare_message
from approvals.models import Decision
from approvals.reconcile.ask_again import look_again
from common.pages import DeskRequest
from mirror.errors import ActNotAllowed, DeskError
from people.actors import Actor


@login_required
@require_POST
def withdraw(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Stop a decision whose call may have left; it may still take effect."""
    actor: Actor = request.actor
    return _act(
        request,
        public_id,
        lambda: withdraw_decision(message=public_id, actor=actor, now=timezone.now()),
        wakeups.resolve,
    )


@login_required
@require_POST
def send_again(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Let an approval go out again that reading has shown to have had no effect."""
    actor: Actor = request.actor
    now = timezone.now()
    return _act(
        request,
        public_id,
        lambda: confirm_approval(message=public_id, actor=actor, now=now),
        lambda decision: wakeups.execute(decision, now=now),
    )


@login_required
@require_POST
def settle(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Take a person's word for what became of a decision that MultiMail tells nothing of."""
    form = SettleForm(request.POST)
    if not form.is_valid():
        find_bare_message(request.actor, public_id)
        return answer_with_message(request, public_id, status=422, problem="Say whether it was carried out or not.")
    actor: Actor = request.actor
    took_effect = form.cleaned_data["took_effect"] == "yes"
    return _act(
        request,
        public_id,
        lambda: settle_by_hand(message=public_id, actor=actor, took_effect=took_effect, now=timezone.now()),
    )


@login_required
@require_POST
def look(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Have MultiMail asked about this message now, and stay on its page."""
    try:
        have_asked(request.actor, public_id)
    except ActNotAllowed as error:
        return answer_with_message(request, public_id, status=403, problem=error.sentence)
    return back_to_message(request, public_id, said="MultiMail is being asked.")


def have_asked(actor: Actor, public_id: UUID) -> None:
    """Have MultiMail asked about one message: for its content, its decision, or what became of it.

    Raises ActNotAllowed for whoever may only read, and Http404 where the message is not theirs to see.
    """
    message = find_bare_message(actor, public_id)
    look_again(message=public_id, actor=actor, now=timezone.now())
    wakeups.look(message)


def _act(
    request: DeskRequest,
    public_id: UUID,
    command: Callable[[], Decision],
    nudge: Callable[[Decision], None] | None = None,
) -> HttpResponse:
    """Run one command: 403 for who may not, 409 where the message has moved on, each with its sentence."""
    find_bare_message(request.actor, public_id)
    try:
        decision = command()
    except DeskError as error:
        status = 403 if isinstance(error, VerdictNotAllowed) else 409
        return answer_with_message(request, public_id, status=status, problem=error.sentence)
    if nudge is not None:
        nudge(decision)
    return back_to_message(request, public_id)
