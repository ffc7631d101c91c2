"""Claiming, snoozing and commenting on a message. Forms get a page, htmx gets
fragments.
"""

import json
from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from approvals.collaboration import (
    MAX_COMMENT,
    ONLY_COMMENTERS,
    add_comment,
    names_offered,
    people_seeing,
    release_claim,
    snooze_message,
    take_claim,
    unsnooze_message,
    zone_of,
)
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
from approvals.usual_texts import BUILT_IN, Kind, Presets, presets_of, words_named
from common.forms import LenientForm, SentenceForm, WordsField
from common.pages import DeskRequest
from common.postgres import clock
from mirror.errors import ActNotAllowed, DeskError
from mirror.models import Message
from policy.rules.rules import listed

MORNING = time(9, 0)
WAITS = {"hour": "1 hour", "tomorrow": "Tomorrow, 9:00", "time": "Until a time"}


def tomorrow_morning(now: datetime, zone: ZoneInfo) -> datetime:
    """Return nine o'clock of the next day there."""
    return datetime.combine(
        (now.astimezone(zone) + timedelta(days=1)).date(), MORNING, zone
    )


class SnoozeForm(SentenceForm):
    """Until when a message is snoozed."""

    wait = forms.ChoiceField(
        choices=list(WAITS.items()),
        error_messages=dict.fromkeys(
            ("required", "invalid_choice"), "Choose how long to snooze it."
        ),
    )
    at = forms.DateTimeField(
        required=False,
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"],
        error_messages={"invalid": "Enter day and time as 2026-11-20 14:30."},
    )
    zone = forms.CharField(required=False, max_length=64)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if (
            cleaned.get("wait") == "time"
            and not cleaned.get("at")
            and "at" not in self.errors
        ):
            self.add_error("at", "Enter the day and time until which to snooze it.")
        return cleaned

    def until(self, *, now: datetime, zone: ZoneInfo) -> datetime:
        """Return the chosen time."""
        wait = self.cleaned_data["wait"]
        if wait == "hour":
            return now + timedelta(hours=1)
        if wait == "tomorrow":
            return tomorrow_morning(now, zone)
        at: datetime = self.cleaned_data["at"]
        return at.replace(tzinfo=zone)


class CommentForm(SentenceForm):
    """A comment, typed or chosen among the saved ones."""

    text = WordsField(
        required=False,
        max_length=MAX_COMMENT,
        error_messages={
            "max_length": f"Keep a comment under {MAX_COMMENT:,} characters."
        },
    )
    saved = forms.CharField(required=False, max_length=40)

    def __init__(self, data: Any, *, presets: Presets = BUILT_IN) -> None:
        super().__init__(data)
        self.presets = presets

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        saved = words_named(self.presets, Kind.COMMENT, cleaned.get("saved") or "")
        if saved is None:
            self.add_error(
                "saved", "The saved comments were changed meanwhile. Choose again."
            )
        text = "\n".join(part for part in (saved, cleaned.get("text")) if part)
        cleaned["text"] = text
        if not text and not self.errors:
            self.add_error("text", "Write something first.")
        if len(text) > MAX_COMMENT:
            self.add_error("text", f"Keep a comment under {MAX_COMMENT:,} characters.")
        return cleaned


class NameForm(LenientForm):
    """The beginning of a name, as it was typed: a blank at its end counts."""

    q = forms.CharField(required=False, max_length=80, strip=False)


class ClaimForm(LenientForm):
    """The current holder, when a claimed message is taken over."""

    take_over = forms.IntegerField(required=False, min_value=1)


@require_POST
def claim(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Claim the message. Where somebody else has it, 409 with a button that names them."""
    message = get_bare_message_or_404(request.actor, public_id)
    from_holder = ClaimForm(request.POST).value("take_over")
    try:
        take_claim(message=public_id, actor=request.actor, from_holder=from_holder)
    except DeskError as error:
        asks = "yes" if isinstance(error, ClaimedByOther) else ""
        typed = {"outcome": "claim", "asks": asks}
        return _refuse(request, message, error, status=http_status(error), typed=typed)
    return _answer(request, message)


@require_POST
def end_claim(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Release the message; a person whose claim was taken over sees who has it."""
    message = get_bare_message_or_404(request.actor, public_id)
    release_claim(message=public_id, actor=request.actor)
    return _answer(request, message)


@require_POST
def snooze(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Snooze the message, and go to the next of the list, or to the list where there is
    none, with a notice.
    """
    message = get_bare_message_or_404(request.actor, public_id)
    form = SnoozeForm(request.POST)
    try:
        if not form.is_valid():
            raise ActNotAllowed(form.first_error())
        own_zone = str(getattr(request.user, "time_zone", "UTC"))
        zone = zone_of(own_zone, form.cleaned_data["zone"])
        asked = form.until(now=clock(), zone=zone)
        until = snooze_message(message=public_id, actor=request.actor, until=asked)
    except ActNotAllowed as error:
        typed = {"outcome": "snooze", "at": request.POST.get("at", "")[:40]}
        return _refuse(request, message, error, status=422, typed=typed)
    why = ", an hour before it expires" if until < asked else ""
    at = until.astimezone(zone)
    notice = f"Snoozed until {at:%-d %b, %H:%M} ({zone}){why}."
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
