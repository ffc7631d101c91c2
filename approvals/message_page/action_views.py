"""Views for what people do with a message besides deciding it: claim, snooze, comment,
edit it, or suggest another text to its agent.

Plain form posts are answered with a page or redirect, htmx requests with a fragment.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import replace
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
from django.utils import timezone
from django.utils.text import capfirst, get_text_list
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseLocation, trigger_client_event

from approvals.authorship import added_links
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
)
from approvals.decisions.decide import new_reference, note_refusal
from approvals.decisions.forms import MAX_REASON, WithPresets
from approvals.decisions.ruling import is_reviewer, may_handle, ruling_of
from approvals.decisions.shown import attached_files, note_served
from approvals.editing.commands import (
    editability,
    finish_replacement,
    is_text_changed,
    replace_message,
    suggest_changes,
)
from approvals.errors import ClaimedByOther, EditNotPossible, InvalidInput
from approvals.message_page.side_panel import actions_on, panel_context
from approvals.message_page.views import (
    answer_with_message,
    back_to_message,
    command_action,
    framed,
    get_bare_message_or_404,
    get_visible_message_or_404,
    message_address,
    note_refused_act,
)
from approvals.queue.views import filters_of, next_in
from approvals.usual_texts import BUILT_IN, Kind, presets_of, words_named
from common.errors import SentenceError
from common.fingerprint import FINGERPRINT
from common.mail_addresses import clean_addresses
from common.pages import (
    VERBATIM,
    DeskRequest,
    FormInvalid,
    LenientForm,
    MultilineField,
    SentenceForm,
    answer,
    cleaned,
    posted,
    redirect_with_notice,
    require_get_or_post,
    same_error,
)
from common.postgres import clock
from common.time_zones import clock_error, here, zone_name
from mirror.errors import ActNotAllowed, DeskError
from mirror.models import Message
from mirror.states import LIVE_DECISIONS, Outcome
from mirror.store import stored_content
from rendering import render_message

# The choices for how long to snooze.
WAITS = {"hour": "1 hour", "tomorrow": "Tomorrow, 9:00", "time": "Until a time"}


class SnoozeForm(SentenceForm):
    """Until when a message is snoozed."""

    wait = forms.ChoiceField(
        choices=list(WAITS.items()),
        error_messages=same_error("Choose how long to snooze it."),
    )
    at = forms.DateTimeField(
        required=False,
        # No format is needed: Django also tries ISO 8601.
        input_formats=[],
        error_messages={"invalid": "Enter day and time as 2026-11-20 14:30."},
    )

    def clean(self) -> None:
        at = self.cleaned_data.get("at")
        if self.cleaned_data.get("wait") != "time" or "at" in self.errors:
            return
        if not at:
            self.add_error("at", "Enter the day and time until which to snooze it.")
        elif error := clock_error(here(at)):
            self.add_error("at", error)

    def until(self, now: datetime, zone: ZoneInfo) -> datetime:
        """Return the time at which the snooze ends; a typed time is in the person's
        zone.
        """
        wait = self.cleaned_data["wait"]
        if wait == "hour":
            return now + timedelta(hours=1)
        if wait == "tomorrow":
            tomorrow = now.astimezone(zone) + timedelta(days=1)
            return datetime.combine(tomorrow, time(9), zone)
        return here(self.cleaned_data["at"])


class CommentForm(WithPresets, SentenceForm):
    """A comment, typed or chosen among the saved ones."""

    text = MultilineField(required=False)
    saved = forms.CharField(required=False, max_length=40)

    def clean(self) -> None:
        cleaned = self.cleaned_data
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


class NameForm(LenientForm):
    """The beginning of a name, as it was typed: a blank at its end counts."""

    q = forms.CharField(required=False, max_length=80, strip=False)


class ClaimForm(LenientForm):
    """The key of the current holder, if the person takes their claim over."""

    take_over = forms.IntegerField(required=False, min_value=1)


@require_POST
def claim(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Claim the message. If somebody else has claimed it, answer 409 with a button to
    take the claim over.
    """
    message = get_bare_message_or_404(request, public_id)
    from_holder = ClaimForm(request.POST).value("take_over")
    try:
        take_claim(message=public_id, actor=request.actor, from_holder=from_holder)
    except DeskError as error:
        asks = "yes" if isinstance(error, ClaimedByOther) else ""
        typed = {"outcome": "claim", "asks": asks}
        return _refuse(request, message, error, typed=typed)
    return _answer(request, message)


@require_POST
def end_claim(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Release the person's claim, and show the panel; if the claim was taken over, it
    shows by whom.
    """
    message = get_bare_message_or_404(request, public_id)
    release_claim(message=public_id, actor=request.actor)
    return _answer(request, message)


@require_POST
def snooze(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Snooze the message, and go to the next message of the list with a notice, or to
    the list if there is no other.
    """
    message = get_bare_message_or_404(request, public_id)
    form = SnoozeForm(request.POST)
    try:
        cleaned(form)
        zone = ZoneInfo(zone_name())
        wanted = form.until(clock(), zone)
        until = snooze_message(message=public_id, actor=request.actor, until=wanted)
    except (FormInvalid, InvalidInput) as error:
        typed = {"outcome": "snooze", "at": request.POST.get("at", "")[:40]}
        return _refuse(request, message, error, typed=typed)
    why = ", an hour before it expires" if until < wanted else ""
    notice = f"Snoozed until {until.astimezone(zone):%-d %b, %H:%M} ({zone}){why}."
    filters = filters_of(request)
    following = next_in(request.actor, filters, message)
    page = reverse("message", args=[following]) if following else reverse("queue")
    address = page + filters.suffix
    if request.htmx and following:
        mine = f"{reverse('queue')}?tab=mine"
        note = {
            "id": "put-off",
            "tone": "blue",
            "title": notice,
            "link": {"href": mine, "words": "See it in Mine"},
        }
        answer = HttpResponseLocation(address, target="#message", swap="outerHTML")
        trigger_client_event(answer, "desk:note", note)
        return trigger_client_event(answer, "desk:row", {"id": str(message.public_id)})
    messages.info(request, notice, extra_tags="desk")
    if request.htmx:
        return HttpResponse(status=204, headers={"HX-Redirect": address})
    return redirect(address)


@require_POST
def end_snooze(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """End the snooze early, and go back to the list or the message."""
    message = get_bare_message_or_404(request, public_id)
    unsnooze_message(message=public_id, actor=request.actor)
    if request.POST.get("to") == "list" and not request.htmx:
        address = reverse("queue") + filters_of(request).suffix
        return redirect_with_notice(
            request, "The message is back in your list.", address
        )
    return _answer(request, message)


@require_safe
def side_panel(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show claims, history and comments again, for an open page that was told that they
    changed.
    """
    return _answer(
        request, get_bare_message_or_404(request, public_id), with_story=True
    )


def _answer(request: DeskRequest, message: Message, **more: Any) -> HttpResponse:
    if request.htmx:
        return _fragment(request, message, "_side_panel", **more)
    return back_to_message(request, message.public_id)


def _refuse(
    request: DeskRequest,
    message: Message,
    error: SentenceError,
    *,
    typed: Mapping[str, str],
    fragment: str = "_side_panel",
) -> HttpResponse:
    """Answer with the error's sentence, and keep what was typed."""
    if request.htmx:
        return _fragment(request, message, fragment, error, typed=typed)
    return answer_with_message(request, message.public_id, error, typed=typed)


def _fragment(
    request: DeskRequest,
    message: Message,
    name: str,
    error: SentenceError | None = None,
    **more: Any,
) -> HttpResponse:
    context = panel_context(
        request,
        message,
        presets=presets_of(message.mailbox_id),
        happened=actions_on(message),
    )
    context["message"] = message
    template = f"approvals/message_page/{name}.html"
    return answer(request, template, context | more, error)


@require_POST
def comment(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Store a comment, and show the comments. For an invalid one, answer 422 and keep
    what was typed.
    """
    message = get_visible_message_or_404(request, public_id)
    presets = presets_of(message.mailbox_id) if request.POST.get("saved") else BUILT_IN
    form = CommentForm(request.POST, presets=presets)
    try:
        text = cleaned(form)["text"]
        people, remarks = add_comment(message=public_id, actor=request.actor, text=text)
    except (ActNotAllowed, FormInvalid, InvalidInput) as error:
        words = ""
        if isinstance(error, ActNotAllowed):
            words = text
            note_refused_act(request, message, error, words)
        typed = {
            "outcome": "comment",
            "words": words,
            "comment": request.POST.get("text", ""),
            "saved": request.POST.get("saved", ""),
        }
        return _refuse(
            request,
            message,
            error,
            typed=typed,
            fragment="_comments",
        )
    if not request.htmx:
        for remark in remarks:
            messages.info(request, remark, extra_tags="desk")
        return redirect(f"{message_address(request, public_id)}#comments")
    notice = "Comment posted. Everybody who opens this message sees it."
    if people:
        names = [str(one) for one in people]
        notice = (
            f"Comment posted. {get_text_list(names, 'and')} will see it under Mine."
        )
    return _fragment(
        request, message, "_comments", comment_notice=notice, comment_remarks=remarks
    )


@require_safe
def people(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show the names that a comment may complete: of people who may see this message."""
    message = get_bare_message_or_404(request, public_id)
    if not may_handle(request.actor, message):
        raise PermissionDenied(ONLY_COMMENTERS)
    if not request.htmx:
        return back_to_message(request, public_id)
    typed = NameForm(request.GET).value("q") or ""
    offered = names_offered(typed, people_seeing(message), request.actor)
    return render(
        request, "approvals/message_page/_mentions.html", {"offered": offered}
    )


# MultiMail's limits: docs/multimail.md.
MAX_SUBJECT = 998
MAX_BODY = 262_144
MAX_RECIPIENTS = 50
# The note goes into the reason of a rejection, which has up to 350 other characters.
MAX_NOTE = MAX_REASON - 350


# The fields that a person may edit.
EDITED = ("to", "cc", "bcc", "subject", "markdown")


class RecipientsField(forms.CharField):
    """Addresses, separated by commas, semicolons or line ends."""

    widget = forms.TextInput({**VERBATIM, "inputmode": "email"})

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, tuple) else value

    def clean(self, value: Any) -> list[str]:
        typed = str(super().clean(value) or "").replace("\n", ",").replace(";", ",")
        try:
            addresses = clean_addresses(typed)
        except ValueError as error:
            raise forms.ValidationError(capfirst(str(error))) from None
        if len(addresses) > MAX_RECIPIENTS:
            raise forms.ValidationError(
                f"At most {MAX_RECIPIENTS} addresses, and there are {len(addresses)}."
            )
        return addresses


class TextForm(SentenceForm):
    """Only the text of a message, for its preview."""

    markdown = MultilineField(
        label="Text, in Markdown",
        max_length=MAX_BODY,
        strip=False,
        widget=forms.Textarea({"class": "mono", "rows": 16, "dir": "auto"}),
        error_messages={"required": "The message needs a text."},
    )


class EditForm(TextForm):
    """An edited message. `reference` is made when the page is shown, so that a double
    click does not send the message twice.
    """

    to = RecipientsField(error_messages={"required": "Enter at least one recipient."})
    cc = RecipientsField(required=False)
    bcc = RecipientsField(required=False)
    subject = forms.CharField(
        required=False,
        max_length=MAX_SUBJECT,
    )
    note = MultilineField(
        label="Note to the agent: what you changed, and why",
        help_text="The agent also gets a list of your changes. Required for a suggestion, optional otherwise.",
        required=False,
        max_length=MAX_NOTE,
        widget=forms.Textarea({"rows": 2}),
    )
    fingerprint = forms.RegexField(
        FINGERPRINT,
        widget=forms.HiddenInput,
        error_messages={
            "invalid": "The page is too old to edit from. Open the message again."
        },
    )
    reference = forms.RegexField(
        r"\A[0-9A-Z]{10}\Z",
        widget=forms.HiddenInput,
        error_messages=same_error("The page is too old to edit from. Open it again."),
    )
    do = forms.ChoiceField(choices=[("send", "Send"), ("suggest", "Suggest")])

    field_order = ("to", "cc", "bcc", "subject")

    def clean_markdown(self) -> str:
        """Refuse a text of blanks only, as MultiMail does."""
        text = str(self.cleaned_data["markdown"])
        if not text.strip():
            raise forms.ValidationError("The message needs a text.")
        return text

    def clean_subject(self) -> str:
        """Refuse line ends, after which somebody could add another header."""
        subject = str(self.cleaned_data["subject"])
        if any(unicodedata.category(one) in ("Cc", "Zl", "Zp") for one in subject):
            raise forms.ValidationError(
                "The subject is one line, without control characters."
            )
        return subject

    def clean(self) -> None:
        cleaned = self.cleaned_data
        if (
            cleaned.get("do") == "suggest"
            and not cleaned.get("note")
            and "note" not in self.errors
        ):
            self.add_error(
                "note",
                "Say what should change: the agent gets these words with your text.",
            )


@require_get_or_post
def edit(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show the message as a form. On POST, have the edited message sent for review in
    its place, or suggest the text to the agent.
    """
    message = get_visible_message_or_404(request, public_id)
    content = stored_content(message.revision) if message.revision else None
    ruling = ruling_of(message, request.actor, now=timezone.now())
    possible = editability(
        message, content, ruling=ruling, files=attached_files(message)
    )
    if message.decisions.filter(state__in=LIVE_DECISIONS).exists():
        possible = replace(possible, may_suggest=False)
    initial: dict[str, Any] = {}
    if possible.may_suggest:
        initial = {name: getattr(content, name) for name in EDITED}
        initial["reference"] = new_reference()
        initial["fingerprint"] = message.fingerprint
    form = EditForm(posted(request), initial=initial)
    if not form.is_bound:
        form.fields["markdown"].widget.attrs["autofocus"] = True
    status = 422 if form.is_bound else 200
    if content is not None and form.is_valid():
        typed = form.cleaned_data
        is_suggested = typed["do"] == "suggest"
        command_arguments: dict[str, Any] = {
            "message": public_id,
            "actor": request.actor,
            "fingerprint": typed["fingerprint"],
            "content": {name: typed[name] for name in EDITED},
            "links": added_links(public_id, content, typed["markdown"]),
            "note": typed["note"],
        }
        try:
            if not possible.may_suggest:
                may_edit = is_reviewer(request.actor, message)
                refused = EditNotPossible if may_edit else ActNotAllowed
                raise refused(
                    possible.why_not
                    or "This message is already decided. Nothing was changed."
                )
            if is_suggested:
                suggest_changes(**command_arguments, first=content)
                notice = "Changes requested, with your text."
                return back_to_message(request, public_id, notice=notice)
            replace_message(**command_arguments, reference=typed["reference"])
            notice = "Edited: your version is being sent for review."
            following = next_in(request.actor, filters_of(request), message)
            return back_to_message(request, following or public_id, notice=notice)
        except DeskError as refusal:
            sentence = refusal.sentence
            form.add_error(None, sentence)
            status = refusal.status
            outcome = Outcome.SEND_BACK if is_suggested else Outcome.REJECT
            note_refusal(
                message,
                actor=request.actor,
                outcome=outcome,
                sentence=sentence,
                reason=typed["note"],
                suggestion=typed["markdown"],
            )
    if content is not None and request.method != "HEAD":
        note_served(message, actor=request.actor)
    context = {
        "message": message,
        "revision": message.revision,
        "content": content,
        "possible": possible,
        "form": form,
        "back": message_address(request, public_id),
    }
    return render(request, "approvals/message_page/edit.html", context, status=status)


@require_POST
def preview(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Serve a preview of the typed text, for the frame. Nothing is stored."""
    message = get_visible_message_or_404(request, public_id)
    form = TextForm(request.POST)
    if message.revision is None or not form.is_valid():
        words = form.first_error() or "The content is still being fetched."
        return framed(words, content_type="text/plain; charset=utf-8", status=422)
    content = stored_content(message.revision)
    text = form.cleaned_data["markdown"]
    # If the text was not changed, the message's own HTML is shown, as the edited
    # message would keep it.
    html = None if is_text_changed(content, text) else content.html
    typed = replace(content, markdown=text, html=html)
    return framed(render_message(typed).document)


# Have the original message of an edit rejected, if a crash or a refusal left both the
# original and the edited message held.
finish = command_action(
    finish_replacement, "The original message is being rejected as replaced."
)
