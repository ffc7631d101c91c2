"""Deciding from the browser: a POST with the fingerprint that was shown. Nothing here decides by GET.

After a verdict the next message of the same list is on screen, under a notice from which the verdict can be undone.
"""

from urllib.parse import urlencode
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from approvals import wakeups
from approvals.decisions.decide import give_verdict, undo_decision
from approvals.decisions.forms import VerdictForm
from approvals.decisions.refusals import note_refusal
from approvals.decisions.usual_reasons import with_preset
from approvals.errors import AlreadyDecided, VerdictNotAllowed
from approvals.message_page.views import answer_with_message, back_to_message, find_bare_message
from approvals.queue.decision_notice import just_decided
from approvals.queue.forms import MessageForm
from approvals.queue.querysets import queue_messages
from approvals.queue.views import counted, cut, filters_of, next_in
from common.pages import DeskRequest
from mirror.errors import DeskError
from mirror.models import Message
from people.actors import Actor


@login_required
@require_POST
def verdict(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Take one verdict: 409 when somebody was first or the message changed, 422 for a bad form; typed text stays.

    What changed since the version that was posted is shown in the same answer.
    """
    actor: Actor = request.actor
    message = find_bare_message(actor, public_id)
    typed = {name: request.POST.get(name, "") for name in ("outcome", "reason", "preset")}
    typed["words"] = with_preset(typed["outcome"], typed["preset"], typed["reason"])
    since = MessageForm({"since": request.POST.get("fingerprint", "")}).read_before()
    form = VerdictForm(request.POST)
    if not form.is_valid():
        problem = form.first_error()
        return answer_with_message(request, public_id, status=422, problem=problem, typed=typed, since=since)
    now = timezone.now()
    try:
        given = give_verdict(message=public_id, actor=actor, now=now, **form.cleaned_data)
    except DeskError as error:
        note_refusal(message, actor=actor, outcome=form.cleaned_data["outcome"], sentence=error.sentence)
        status = 403 if isinstance(error, VerdictNotAllowed) else 409
        return answer_with_message(request, public_id, status=status, problem=error.sentence, typed=typed, since=since)
    wakeups.execute(given.decision, now=now)
    return go_on(request, message)


def go_on(request: DeskRequest, message: Message) -> HttpResponse:
    """After a verdict: the next message of the list, or the empty pane where nothing is left of it."""
    following = next_in(request.actor, filters_of(request), message)
    if request.htmx and following:
        return answer_with_message(request, following, decided=message.public_id)
    if request.htmx:
        return _nothing_left(request, message)
    path = reverse("message", kwargs={"public_id": following}) if following else reverse("queue")
    query = "&".join(part for part in (filters_of(request).query(), urlencode({"decided": message.public_id})) if part)
    return redirect(f"{path}?{query}")


def _nothing_left(request: DeskRequest, message: Message) -> HttpResponse:
    filters = filters_of(request)
    context = {
        **just_decided(request.actor, message.public_id),
        "filters": filters,
        "queue_query": f"?{query}" if (query := filters.query(after=None)) else "",
        "others_wait": _others_waiting(request.actor) if filters.narrows or filters.tab != "waiting" else "",
    }
    return render(request, "approvals/_nothing_left.html", context)


def _others_waiting(actor: Actor) -> str:
    number = cut(queue_messages().waiting_for(actor)).count()
    return counted(number) if number else ""


@login_required
@require_POST
def undo(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Take a decision back while it has not left, and show the message again, which is held."""
    actor: Actor = request.actor
    find_bare_message(actor, public_id)
    try:
        undo_decision(message=public_id, actor=actor, now=timezone.now())
    except (AlreadyDecided, VerdictNotAllowed) as error:
        status = 409 if isinstance(error, AlreadyDecided) else 403
        return answer_with_message(request, public_id, status=status, problem=error.sentence)
    return back_to_message(request, public_id)


@login_required
@require_safe
def decided(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show where a decision of one's own stands, as the notice over the next message asks from time to time."""
    actor: Actor = request.actor
    message = find_bare_message(actor, public_id)
    if not request.htmx:
        return redirect("message", public_id=message.public_id)
    return render(request, "approvals/_just.html", just_decided(actor, message.public_id))
