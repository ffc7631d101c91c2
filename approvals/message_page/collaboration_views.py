"""Claiming, snoozing and commenting on a message. Forms get a page, htmx gets
fragments.
"""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from approvals.collaboration.claims import release, take
from approvals.collaboration.comments import (
    ONLY_COMMENTERS,
    add_comment,
    names_offered,
    people_seeing,
)
from approvals.collaboration.forms import ClaimForm, CommentForm, NameForm, SnoozeForm
from approvals.collaboration.snooze import snooze_message, unsnooze_message
from approvals.decisions.ruling import may_handle
from approvals.errors import ClaimedByOther, InvalidInput, http_status
from approvals.message_page.side_panel import actions_on, panel_context
from approvals.message_page.views import (
    answer_with_message,
    back_to_message,
    get_bare_message_or_404,
    get_visible_message_or_404,
    message_address,
)
from approvals.queue.views import filters_of, next_in
from approvals.usual_texts.texts import BUILT_IN, presets_of
from common.pages import DeskRequest
from common.postgres import clock
from mirror.errors import ActNotAllowed, DeskError
from mirror.models import Message
from policy.rules.rules import listed


@require_POST
def claim(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Claim the message. Where somebody else has it, 409 with a button that names them."""
    message = get_bare_message_or_404(request.actor, public_id)
    from_holder = ClaimForm(request.POST).value("take_over")
    try:
        take(message=public_id, actor=request.actor, from_holder=from_holder)
    except DeskError as error:
        asks = "yes" if isinstance(error, ClaimedByOther) else ""
        typed = {"outcome": "claim", "asks": asks}
        return _refuse(request, message, error, status=http_status(error), typed=typed)
    return _answer(request, message)


@require_POST
def release_claim(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Release the message; a person whose claim was taken over sees who has it."""
    message = get_bare_message_or_404(request.actor, public_id)
    release(message=public_id, actor=request.actor)
    return _answer(request, message)


@require_POST
def snooze(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Snooze the message, and go to the next of the list, or to the list where there is
    none, with a notice.
    """
    message = get_bare_message_or_404(request.actor, public_id)
    own_zone = str(getattr(request.user, "time_zone", "UTC"))
    form = SnoozeForm(request.POST, now=clock(), own_zone=own_zone)
    try:
        if not form.is_valid():
            raise ActNotAllowed(form.first_error())
        asked = form.until()
        until = snooze_message(message=public_id, actor=request.actor, until=asked)
    except ActNotAllowed as error:
        typed = {"outcome": "snooze", "at": request.POST.get("at", "")[:40]}
        return _refuse(request, message, error, status=422, typed=typed)
    why = ", an hour before it expires" if until < asked else ""
    at = until.astimezone(form.zone_name)
    notice = f"Snoozed until {at:%-d %b, %H:%M} ({form.zone_name}){why}."
    filters = filters_of(request)
    following = next_in(request.actor, filters, message)
    page = reverse("message", args=[following]) if following else reverse("queue")
    address = page + filters.suffix
    if request.htmx and following:
        mine = f"{reverse('queue')}?tab=mine"
        link = {"href": mine, "words": "See it in Mine", "here": True}
        note = {
            "id": "put-off",
            "tone": "blue",
            "title": notice,
            "text": "",
            "link": link,
        }
        events = {
            "desk:note": note,
            "desk:put-off": {"message": str(message.public_id)},
        }
        location = {"path": address, "target": "#message", "swap": "outerHTML"}
        headers = {
            "HX-Trigger": json.dumps(events),
            "HX-Location": json.dumps(location),
        }
        return HttpResponse(status=204, headers=headers)
    messages.info(request, notice, extra_tags="desk")
    if request.htmx:
        return HttpResponse(status=204, headers={"HX-Redirect": address})
    return redirect(address)


@require_POST
def end_snooze(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """End the snooze early, and show the list or page that the request came from."""
    message = get_bare_message_or_404(request.actor, public_id)
    unsnooze_message(message=public_id, actor=request.actor)
    if request.POST.get("to") == "list" and not request.htmx:
        messages.info(request, "The message is back in your list.", extra_tags="desk")
        return redirect(reverse("queue") + filters_of(request).suffix)
    return _answer(request, message)


@require_safe
def side_panel(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show claims, history and comments, for a page that was notified that they
    changed.
    """
    message = get_bare_message_or_404(request.actor, public_id)
    return _answer(request, message, with_story=True)


def _answer(request: DeskRequest, message: Message, **more: Any) -> HttpResponse:
    if request.htmx:
        return _fragment(request, message, "_side_panel", **more)
    return back_to_message(request, message.public_id)


def _refuse(
    request: DeskRequest,
    message: Message,
    error: DeskError,
    *,
    status: int,
    typed: Mapping[str, str],
    fragment: str = "_side_panel",
) -> HttpResponse:
    """Say what is wrong, and leave what was typed in its place."""
    refusal: dict[str, Any] = {
        "status": status,
        "error": error.sentence,
        "typed": typed,
    }
    if request.htmx:
        return _fragment(request, message, fragment, **refusal)
    return answer_with_message(request, message.public_id, **refusal)


def _fragment(
    request: DeskRequest, message: Message, name: str, *, status: int = 200, **more: Any
) -> HttpResponse:
    presets = presets_of(message.mailbox_id)
    happened = actions_on(message)
    context = panel_context(request, message, presets=presets, happened=happened)
    context["message"] = message
    template = f"approvals/message_page/{name}.html"
    return render(request, template, context | more, status=status)


@require_POST
def comment(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Store a comment; 422 for an invalid one, with everything that was typed."""
    message = get_visible_message_or_404(request.actor, public_id)
    presets = presets_of(message.mailbox_id) if request.POST.get("saved") else BUILT_IN
    form = CommentForm(request.POST, presets=presets)
    try:
        if not form.is_valid():
            raise InvalidInput(form.first_error())
        asked, remarks = add_comment(
            message=public_id, actor=request.actor, text=form.cleaned_data["text"]
        )
    except (ActNotAllowed, InvalidInput) as error:
        typed = {
            "outcome": "comment",
            "comment": request.POST.get("text", ""),
            "saved": request.POST.get("saved", ""),
        }
        return _refuse(
            request,
            message,
            error,
            status=http_status(error),
            typed=typed,
            fragment="_comments",
        )
    if not request.htmx:
        return redirect(f"{message_address(request, public_id)}#comments")
    notice = "Comment posted. Whoever opens this message sees it."
    if asked:
        names = [str(one) for one in asked]
        notice = f"Comment posted. {listed(names)} will see it under Mine."
    return _fragment(
        request, message, "_comments", comment_notice=notice, comment_remarks=remarks
    )


@require_safe
def people(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show the names that a comment may complete: of people who may see this message."""
    message = get_bare_message_or_404(request.actor, public_id)
    if not may_handle(request.actor, message):
        raise PermissionDenied(ONLY_COMMENTERS)
    if not request.htmx:
        return back_to_message(request, public_id)
    typed = NameForm(request.GET).value("q") or ""
    offered = names_offered(typed, people_seeing(message), actor=request.actor)
    return render(
        request, "approvals/message_page/_mentions.html", {"offered": offered}
    )
