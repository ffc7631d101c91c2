"""The page on which a person corrects a held message, or suggests another text to its
agent, with its preview.
"""

from dataclasses import replace
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from approvals.decisions.decide import new_reference, note_refusal
from approvals.decisions.forms import MAX_REASON
from approvals.decisions.ruling import is_reviewer, rulings
from approvals.decisions.shown import attached_files, note_served
from approvals.editing.commands import (
    editability,
    finish_replacement,
    replace_message,
    suggest_changes,
)
from approvals.errors import http_status
from approvals.message_page.views import (
    answer_with_message,
    back_to_message,
    framed,
    get_visible_message_or_404,
    message_action,
    message_address,
)
from common.fingerprint import FINGERPRINT
from common.forms import SentenceForm, WordsField
from common.mail_addresses import clean_addresses
from common.pages import DeskRequest
from mirror.errors import DeskError
from mirror.states import LIVE_DECISIONS, Outcome
from mirror.store import stored_content
from rendering import render_message

# MultiMail's limits: docs/multimail.md.
MAX_SUBJECT = 998
MAX_BODY = 262_144
MAX_RECIPIENTS = 50
# What stands around a note in the reason of the rejection.
MAX_NOTE = MAX_REASON - 350


# What a person may correct.
EDITED = ("to", "cc", "bcc", "subject", "markdown")


class RecipientsField(forms.CharField):
    """Addresses with commas or line ends between them."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, tuple) else value

    def clean(self, value: Any) -> list[str]:
        typed = str(super().clean(value) or "").replace("\n", ",").replace(";", ",")
        try:
            found = clean_addresses(typed)
        except ValueError as error:
            raise forms.ValidationError(
                str(error)[:1].upper() + str(error)[1:]
            ) from None
        if len(found) > MAX_RECIPIENTS:
            raise forms.ValidationError(
                f"At most {MAX_RECIPIENTS} addresses, and there are {len(found)}."
            )
        return found


class TextForm(SentenceForm):
    """The text alone, for its preview."""

    markdown = WordsField(
        max_length=MAX_BODY,
        strip=False,
        error_messages={
            "required": "The message needs a text.",
            "max_length": f"Keep the text under {MAX_BODY:,} characters.",
        },
    )


class EditForm(TextForm):
    """A corrected message. `reference` was made for the page, so that a second press
    sends nothing twice.
    """

    to = RecipientsField(error_messages={"required": "Enter at least one recipient."})
    cc = RecipientsField(required=False)
    bcc = RecipientsField(required=False)
    subject = forms.CharField(
        required=False,
        max_length=MAX_SUBJECT,
        error_messages={
            "max_length": f"Keep the subject under {MAX_SUBJECT} characters."
        },
    )
    note = WordsField(
        required=False,
        max_length=MAX_NOTE,
        error_messages={"max_length": f"Keep the note under {MAX_NOTE} characters."},
    )
    fingerprint = forms.RegexField(
        FINGERPRINT,
        error_messages={
            "invalid": "The page is too old to edit from. Open the message again."
        },
    )
    reference = forms.RegexField(
        r"\A[0-9A-Z]{10}\Z",
        error_messages=dict.fromkeys(
            ("required", "invalid"), "The page is too old to edit from. Open it again."
        ),
    )
    do = forms.ChoiceField(choices=[("send", "Send"), ("suggest", "Suggest")])

    def clean_markdown(self) -> str:
        """Refuse a text of blanks only, as MultiMail does."""
        text = str(self.cleaned_data["markdown"])
        if not text.strip():
            raise forms.ValidationError("The message needs a text.")
        return text

    def clean_subject(self) -> str:
        """Refuse line ends: in a header, another header could follow them."""
        subject = str(self.cleaned_data["subject"])
        if not subject.isprintable():
            raise forms.ValidationError(
                "The subject is one line, without control characters."
            )
        return subject

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if (
            cleaned.get("do") == "suggest"
            and not cleaned.get("note")
            and "note" not in self.errors
        ):
            self.add_error(
                "note",
                "Say what should change: the agent gets these words with your text.",
            )
        return cleaned


@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show the message as a form; on POST have the corrected one sent for review, or
    suggest it to the agent.
    """
    message = get_visible_message_or_404(request.actor, public_id)
    content = stored_content(message.revision) if message.revision else None
    ruling = rulings([message], request.actor, now=timezone.now())[message.pk]
    possible = editability(
        message, content, ruling=ruling, files=attached_files(message)
    )
    is_decided = message.decisions.filter(state__in=LIVE_DECISIONS).exists()
    error = ""
    status = 200
    if is_decided or content is None or not possible.may_suggest:
        if request.method == "POST":
            sentence = (
                possible.why_not
                or "This message is already decided. Nothing was changed."
            )
            status = 409 if is_reviewer(request.actor, message) else 403
            return answer_with_message(
                request, public_id, status=status, error=sentence
            )
        form = EditForm()
        possible = replace(possible, may_suggest=False)
    elif request.method != "POST":
        initial = {name: getattr(content, name) for name in EDITED}
        initial["reference"] = new_reference()
        initial["fingerprint"] = message.fingerprint
        form = EditForm(initial=initial)
    else:
        form = EditForm(request.POST)
        status = 422
        if form.is_valid():
            typed = form.cleaned_data
            is_suggested = typed["do"] == "suggest"
            asked: dict[str, Any] = {
                "message": public_id,
                "actor": request.actor,
                "fingerprint": typed["fingerprint"],
                "content": {name: typed[name] for name in EDITED},
                "note": typed["note"],
            }
            try:
                if is_suggested:
                    suggest_changes(**asked, first=content)
                    notice = "Changes requested, with your text."
                else:
                    replace_message(**asked, reference=typed["reference"])
                    notice = "The edited version is being sent for review."
                if message.is_local:
                    notice = ""
                return back_to_message(request, public_id, notice=notice)
            except DeskError as refusal:
                error = refusal.sentence
                status = http_status(refusal)
                outcome = Outcome.SEND_BACK if is_suggested else Outcome.REJECT
                note_refusal(
                    message, actor=request.actor, outcome=outcome, sentence=error
                )
    if content is not None and request.method != "HEAD":
        note_served(message, actor=request.actor)
    context = {
        "message": message,
        "revision": message.revision,
        "content": content,
        "possible": possible,
        "form": form,
        "error": error,
        "max_note": MAX_NOTE,
        "back": message_address(request, public_id),
    }
    return render(request, "approvals/message_page/edit.html", context, status=status)


@require_POST
def preview(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Serve the typed text as its recipient would see it, framed as every mail is. It
    changes nothing.
    """
    message = get_visible_message_or_404(request.actor, public_id)
    form = TextForm(request.POST)
    if message.revision is None or not form.is_valid():
        words = form.first_error() or "The content is still being fetched."
        return framed(words, content_type="text/plain; charset=utf-8", status=422)
    content = stored_content(message.revision)
    # Text that was not changed keeps the message's own HTML, as in the corrected
    # message.
    is_same = (
        form.cleaned_data["markdown"].rstrip()
        == (content.markdown or "").replace("\r\n", "\n").rstrip()
    )
    typed = replace(
        content,
        markdown=form.cleaned_data["markdown"],
        html=content.html if is_same else None,
    )
    return framed(render_message(typed).document)


@message_action
def finish(request: DeskRequest, public_id: UUID) -> str:
    """Have the first message of an edit rejected, where a crash or a refusal left both
    held.
    """
    finish_replacement(message=public_id, actor=request.actor)
    return "The original message is being rejected as replaced."
