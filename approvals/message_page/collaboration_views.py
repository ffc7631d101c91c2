"""Claiming, snoozing and commenting on a message, and presence. Plain forms get a page, htmx gets fragments."""

import json
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from approvals.collaboration import presence
from approvals.collaboration.claims import release, take, touch
from approvals.collaboration.comments import CommentResult, add_comment
from approvals.collaboration.forms import ClaimForm, CommentForm, PresenceForm, SnoozeForm
from approvals.collaboration.snooze import SnoozeResult, snooze_message, unsnooze_message
from approvals.errors import ClaimedByOther, http_status
from approvals.message_page.side_panel import panel_context
from approvals.message_page.views import (
    answer_with_message,
    back_to_message,
    get_bare_message_or_404,
    get_visible_message_or_404,
)
from approvals.queue.views import filters_of, next_in
from common.pages import DeskRequest
from common.postgres import clock
from mirror.errors import ActNotAllowed, DeskError
from mirror.models import Message


@login_required
@require_POST
def claim(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Take the message on. Where somebody has it, 409 with a button that names them."""
    message = get_bare_message_or_404(request.actor, public_id)
    from_holder = ClaimForm(request.POST).from_holder()
    try:
        take(message=public_id, actor=request.actor, now=timezone.now(), from_holder=from_holder)
    except ClaimedByOther as error:
        return _answer(request, message, status=409, problem=error.sentence, asks=True)
    except DeskError as error:
        return _answer(request, message, status=http_status(error), problem=error.sentence)
    return _answer(request, message)


@login_required
@require_POST
def release_claim(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Give the message free again; whoever has lost it in the meantime sees who has it."""
    message = get_bare_message_or_404(request.actor, public_id)
    release(message=public_id, actor=request.actor, now=timezone.now())
    return _answer(request, message)


@login_required
@require_POST
def snooze(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Put the message off, and go on with the next."""
    message = get_bare_message_or_404(request.actor, public_id)
    form = SnoozeForm(request.POST, now=clock(), own_zone=str(getattr(request.user, "time_zone", "UTC")))
    if not form.is_valid():
        return _answer(request, message, status=422, problem=form.first_error(), typed=_typed(request))
    try:
        done = snooze_message(message=public_id, actor=request.actor, until=form.until(), now=timezone.now())
    except ActNotAllowed as error:
        return _answer(request, message, status=422, problem=error.sentence, typed=_typed(request))
    return _show_next(request, message, _snooze_notice(done, form))


@login_required
@require_POST
def end_snooze(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show the message again before its time: in the list that asked, or on its page."""
    message = get_bare_message_or_404(request.actor, public_id)
    unsnooze_message(message=public_id, actor=request.actor, now=timezone.now())
    if request.htmx:
        return _answer(request, message)
    if request.POST.get("to") == "list":
        messages.info(request, "It waits for you again.", extra_tags="desk")
        return redirect(reverse("queue") + filters_of(request).suffix)
    return back_to_message(request, public_id)


@login_required
@require_POST
def report_presence(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Note that the message is on this person's screen, or no longer."""
    message = get_bare_message_or_404(request.actor, public_id)
    if PresenceForm(request.POST).has_left():
        presence.leave(message, actor=request.actor)
    elif message.state == "held":
        presence.come(message, actor=request.actor)
        touch(message, actor=request.actor)
    return HttpResponse(status=204)


@login_required
@require_safe
def beside(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show who has the message and what was said by now, for a page that was told that this changed."""
    message = get_bare_message_or_404(request.actor, public_id)
    if not request.htmx:
        return back_to_message(request, public_id)
    context = panel_context(request, message)
    return render(
        request, "approvals/message_page/_side_panel.html", {**context, **_frame(request, message), "with_story": True}
    )


def _answer(
    request: DeskRequest,
    message: Message,
    *,
    status: int = 200,
    problem: str = "",
    asks: bool = False,
    typed: dict[str, str] | None = None,
) -> HttpResponse:
    kept = {"outcome": "claim", **(typed or {}), "asks": "yes" if asks else ""}
    if request.htmx:
        context = {**panel_context(request, message), **_frame(request, message), "problem": problem}
        return render(request, "approvals/message_page/_side_panel.html", {**context, "typed": kept}, status=status)
    if problem:
        return answer_with_message(request, message.public_id, status=status, error=problem, typed=kept)
    return back_to_message(request, message.public_id)


def _frame(request: DeskRequest, message: Message) -> dict[str, Any]:
    return {"message": message, "queue_query": filters_of(request).suffix}


def _typed(request: DeskRequest) -> dict[str, str]:
    return {"outcome": "snooze", "at": request.POST.get("at", "")[:40]}


def _snooze_notice(done: SnoozeResult, form: SnoozeForm) -> str:
    at = done.until.astimezone(form.zone_name)
    why = ", an hour before it expires" if done.is_earlier else ""
    return f"Snoozed until {at:%-d %b, %H:%M} ({form.zone_name}){why}."


def _show_next(request: DeskRequest, message: Message, said: str) -> HttpResponse:
    """Lead to the next message of the list, or to the list where there is none, with a notice of what was done."""
    filters = filters_of(request)
    following = next_in(request.actor, filters, message)
    query = filters.suffix
    address = reverse("message", kwargs={"public_id": following}) if following else reverse("queue")
    if not request.htmx or following is None:
        messages.info(request, said, extra_tags="desk")
        if not request.htmx:
            return redirect(address + query)
        return HttpResponse(status=204, headers={"HX-Redirect": address + query})
    note = {"id": "put-off", "tone": "blue", "title": said, "text": "", "link": _way_back()}
    told = {"desk:note": note, "desk:put-off": {"message": str(message.public_id)}}
    place = {"path": address + query, "target": "#message", "swap": "outerHTML"}
    return HttpResponse(status=204, headers={"HX-Trigger": json.dumps(told), "HX-Location": json.dumps(place)})


def _way_back() -> dict[str, Any]:
    return {"href": f"{reverse('queue')}?tab=mine", "words": "See it in Mine", "here": True}


@login_required
@require_POST
def comment(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Keep a comment; 422 for a bad one, with everything that was typed."""
    message = get_visible_message_or_404(request.actor, public_id)
    form = CommentForm(request.POST)
    if not form.is_valid():
        return _refuse_comment(request, message, form.first_error(), status=422)
    try:
        said = add_comment(message=public_id, actor=request.actor, text=form.cleaned_data["text"], now=timezone.now())
    except ActNotAllowed as error:
        return _refuse_comment(request, message, error.sentence, status=403)
    if request.htmx:
        return _comments(request, message, {"comment_said": _comment_notice(said), "comment_remarks": said.remarks})
    address = reverse("message", args=[public_id])
    return redirect(f"{address}{filters_of(request).suffix}#comments")


def _refuse_comment(request: DeskRequest, message: Message, problem: str, *, status: int) -> HttpResponse:
    typed = {"outcome": "comment", "comment": request.POST.get("text", ""), "tell": request.POST.get("tell", "")}
    if request.htmx:
        return _comments(request, message, {"problem": problem, "typed": typed}, status=status)
    return answer_with_message(request, message.public_id, status=status, error=problem, typed=typed)


def _comments(request: DeskRequest, message: Message, more: dict[str, object], *, status: int = 200) -> HttpResponse:
    context = {
        **panel_context(request, message),
        **_frame(request, message),
        **more,
    }
    return render(request, "approvals/message_page/_comments.html", context, status=status)


def _comment_notice(said: CommentResult) -> str:
    if not said.asked:
        return "Comment posted. Whoever opens this message sees it."
    names = [str(one) for one in said.asked]
    told = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    return f"Comment posted. {told} will see it under Mine."
