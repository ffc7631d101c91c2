"""The pages of bulk review: the sheet of chosen messages, the verdict on the ticked
ones, and their outcomes with Undo.

Opening a sheet decides nothing. A message that was not on the sheet, or has changed
since it was shown, is not decided.
"""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from approvals.bulk.batch import (
    Batch,
    approvable,
    decide_batch,
    done_context,
    find_repeat,
    may_undo,
    note_loaded,
    note_read,
    read_on,
    store_batch,
    stored_batch,
    undo_batch,
)
from approvals.bulk.groups import grouped
from approvals.bulk.sheet import (
    MAX_ITEMS,
    OnSheet,
    Sheet,
    gather,
    read_sheet,
    sign_sheet,
)
from approvals.decisions.forms import CHANGED_MEANWHILE, MAX_REASON, with_preset
from approvals.errors import InvalidInput
from approvals.message_page.sheet import has_undo_window
from approvals.queue.filters import as_id
from approvals.queue.views import filters_of
from approvals.usual_texts import (
    BUILT_IN,
    Presets,
    known_presets,
    presets_of,
    words_named,
)
from common.errors import SentenceError
from common.fingerprint import FINGERPRINT
from common.pages import (
    DeskRequest,
    FormInvalid,
    LenientForm,
    MultilineField,
    SentenceForm,
    answer,
    cleaned,
    page_or_fragment,
    require_get_or_post,
    same_error,
)
from mirror.states import Outcome
from people.sign_in.reauthentication import ask_first, is_recently_authenticated

_MISSING = {
    Outcome.REJECT: "Say why, so that the agents can do better: the reason is sent to each of them.",
    Outcome.SEND_BACK: "Say what should change: each agent gets these words.",
}


# The outcome of the button that also approves ticked messages which were not read, if
# their number is typed.
WITH_UNREAD = "approve_unread"


class ReasonsForm(SentenceForm):
    """A verdict on several messages. Reject and request changes have a text field each
    for their reason.
    """

    outcome = forms.ChoiceField(
        choices=[(Outcome.REJECT, "Reject"), (Outcome.SEND_BACK, "Request changes")],
        error_messages=same_error("Choose reject or request changes."),
    )
    reject_reason = MultilineField(required=False)
    send_back_reason = MultilineField(required=False)
    reject_preset = forms.CharField(required=False, max_length=40)
    send_back_preset = forms.CharField(required=False, max_length=40)

    def read_reason(self, presets: Presets) -> None:
        """Set the `reason` in the cleaned data, or an error about it."""
        cleaned = self.cleaned_data
        outcome = cleaned.get("outcome", "")
        words = cleaned.get(f"{outcome}_reason") or ""
        preset = cleaned.get(f"{outcome}_preset") or ""
        cleaned["reason"] = with_preset(outcome, preset, words, presets)
        if outcome in _MISSING and words_named(presets, outcome, preset) is None:
            self.add_error(None, CHANGED_MEANWHILE)
            return
        if outcome in _MISSING and not cleaned["reason"]:
            self.add_error(None, _MISSING[outcome])
        if len(cleaned["reason"]) > MAX_REASON:
            self.add_error(None, f"Keep the reason under {MAX_REASON} characters.")


class BatchForm(ReasonsForm):
    """One verdict for all ticked messages of a sheet.

    An approval is only of the messages that were read. With `with_unread` it is also of
    the others, whose number the person typed (`number_unread`; 0 if none was typed).
    `counted` are the messages that the page counted as read.
    """

    with_unread = False
    number_unread = 0

    outcome = forms.ChoiceField(
        choices=[*Outcome.choices, (WITH_UNREAD, "Approve, with the unread ones")],
        error_messages=same_error("Choose approve, reject or request changes."),
    )
    sheet = forms.CharField(max_length=400_000, required=False)
    unread = forms.IntegerField(min_value=0, required=False)

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        self.ticked = [as_pair(value) for value in data.getlist("item")]
        self.counted = {
            UUID(key) for key, _ in map(as_pair, data.getlist("read")) if key
        }

    def clean(self) -> None:
        cleaned = self.cleaned_data
        # If this is no number, `approvable` refuses it, with the right number in the
        # error.
        self.errors.pop("unread", None)
        outcome = cleaned.get("outcome", "")
        if outcome == WITH_UNREAD:
            self.with_unread = True
            self.number_unread = cleaned.get("unread") or 0
            outcome = cleaned["outcome"] = Outcome.APPROVE
        presets = BUILT_IN
        if cleaned.get(f"{outcome}_preset"):
            presets = known_presets(UUID(key) for key, _ in self.ticked if key)
        self.read_reason(presets)
        if outcome and not self.ticked:
            self.add_error(None, "Tick at least one message to decide.")


class UndoForm(LenientForm):
    """The batch to undo, or one message of it."""

    of = forms.RegexField(r"\A[0-9a-f]{32}\Z", required=False)
    id = forms.UUIDField(required=False)


def as_pair(value: str) -> tuple[str, str]:
    """Return the id and the fingerprint of a ticked message. For an invalid value the
    id is empty, which matches no message of any sheet.
    """
    key, _, version = value.partition(".")
    message_id = as_id(key)
    return (
        (str(message_id), version)
        if message_id and FINGERPRINT.match(version)
        else ("", value[:10])
    )


@require_get_or_post
def sheet(request: DeskRequest) -> HttpResponse:
    """Show the sheet of the chosen messages. If none is chosen, redirect to the queue."""
    # Twice as many ids as fit are read, to count how many did not fit.
    ids = request.POST.getlist("id")[: 2 * MAX_ITEMS]
    chosen = list(dict.fromkeys(filter(None, map(as_id, ids))))
    if not chosen:
        if request.method == "POST":
            messages.info(
                request,
                "Select the messages that you want to review together.",
                extra_tags="desk",
            )
        return redirect(_queue_address(request))
    return _answer_with_sheet(
        request, chosen[:MAX_ITEMS], too_many=len(chosen[MAX_ITEMS:])
    )


def _answer_with_sheet(
    request: DeskRequest,
    chosen: list[UUID],
    *,
    too_many: int = 0,
    error: SentenceError | None = None,
    ticked: set[str] | None = None,
) -> HttpResponse:
    """Show a sheet, and record which messages were loaded. `ticked` are the pairs to
    tick again after an error; if it is None, all that can be approved are ticked.
    """
    actor = request.actor
    gathered = gather(chosen, actor=actor, now=timezone.now())
    groups = grouped(gathered.ready)
    items = [*(one for group in groups for one in group.items), *gathered.alone]
    shown_sheet = Sheet(
        [
            OnSheet(
                one.message.public_id, one.revision.fingerprint, one.why_alone, one.like
            )
            for one in items
        ]
    )
    loaded = [one.message for one in items if one.rendered is not None]
    read = note_loaded(loaded, sheet=shown_sheet, actor=actor)
    ticked = {one.pair for one in gathered.ready} if ticked is None else ticked
    ready = [one for one in gathered.ready if one.pair in ticked]
    number_read = sum(one.message.public_id in read for one in ready)
    all_read = sum(one.message.public_id in read for one in gathered.ready)
    context = {
        "sheet": gathered,
        "groups": groups,
        "signed": sign_sheet(shown_sheet, actor.id),
        "ticked": ticked,
        "read": read,
        "has_read": all_read > 0,
        "has_unread": all_read < len(gathered.ready),
        "number_read": number_read,
        "number_unread": len(ready) - number_read,
        "kinds": {one.kind for one in gathered.ready},
        "can_send_back": any(not one.message.is_inbound for one in gathered.items),
        "has_undo_window": all(has_undo_window(one.message) for one in gathered.items),
        "presets": presets_of(*(one.message.mailbox_id for one in gathered.items)),
        "max_reason": MAX_REASON,
        "typed": typed_in(request),
        "too_many": too_many,
    }
    return answer(request, "approvals/bulk/bulk.html", context, error)


@require_POST
def decide(request: DeskRequest) -> HttpResponse:
    """Decide the ticked messages and redirect to their outcomes. For an invalid form,
    show the sheet again with status 422 and all that was ticked and typed.
    """
    actor = request.actor
    form = BatchForm(request.POST)
    valid_sheet: Sheet | None = None
    try:
        posted = read_sheet(form.data.get("sheet", ""), actor.id)
        ticked = chosen = posted.only(form.ticked)
        valid_sheet = posted
        outcome = cleaned(form)["outcome"]
        if outcome == Outcome.APPROVE:
            chosen = approvable(
                ticked,
                read=read_on(ticked, actor),
                counted=form.counted,
                with_unread=form.with_unread,
                typed=form.number_unread,
            )
    except (FormInvalid, InvalidInput) as error:
        # Show the same sheet again with its ticks. If the posted sheet is not valid,
        # show one of the ticked messages.
        message_ids = [UUID(key) for key, _ in form.ticked if key]
        still_ticked: set[str] = set()
        if valid_sheet:
            message_ids = [one.message for one in valid_sheet.items]
            still_ticked = {f"{key}.{version}" for key, version in form.ticked}
        if not message_ids:
            messages.error(request, error.sentence, extra_tags="desk")
            return redirect(_queue_address(request))
        return _answer_with_sheet(
            request,
            message_ids[:MAX_ITEMS],
            error=error,
            ticked=still_ticked,
        )
    # Only an approval requires recent authentication: it sends many messages at once.
    # After a wrong reject, the agent can send the message again.
    if outcome == Outcome.APPROVE and not is_recently_authenticated(request):
        return ask_first(request)
    if repeated := find_repeat(
        request.session, posted, chosen, outcome=outcome, actor=actor
    ):
        return redirect(_done_address(repeated))
    unread = form.number_unread
    if outcome != Outcome.APPROVE:
        unread = len(chosen) - len(read_on(chosen, actor))
    results = decide_batch(
        sheet=posted,
        ticked=chosen,
        actor=actor,
        outcome=outcome,
        reason=form.cleaned_data["reason"],
        unread=unread,
    )
    batch = Batch(
        sheet=posted.id,
        outcome=outcome,
        typed={**typed_in(request), "outcome": outcome, "unread": ""},
        query=filters_of(request).suffix,
        items=results,
        unread=[str(one.message) for one in ticked if one not in chosen],
    )
    store_batch(request.session, batch)
    return redirect(_done_address(batch))


@require_POST
def seen(request: DeskRequest) -> HttpResponse:
    """Record which messages of a sheet the person has had on screen. 422 if the sheet
    is not this person's, or too old.
    """
    actor = request.actor
    pairs = [as_pair(value) for value in request.POST.getlist("item")[:MAX_ITEMS]]
    try:
        posted_sheet = read_sheet(request.POST.get("sheet", ""), actor.id)
        note_read(posted_sheet, posted_sheet.only(pairs), actor=actor)
    except InvalidInput as error:
        return HttpResponse(
            error.sentence, status=422, content_type="text/plain; charset=utf-8"
        )
    return HttpResponse(status=204)


@require_safe
def done(request: DeskRequest) -> HttpResponse:
    """Show the outcome of each message of a batch, with Undo for decisions that have
    not been sent yet.
    """
    batch = stored_batch(request.session, UndoForm(request.GET).value("of"))
    if batch is None:
        return redirect("queue")
    return page_or_fragment(
        request,
        page="approvals/bulk/bulk_done.html",
        fragment="approvals/bulk/_bulk_done.html",
        context=done_context(batch, request.actor, timezone.now()),
    )


@require_POST
def undo(request: DeskRequest) -> HttpResponse:
    """Undo the decision on one message of a batch, or all its decisions that have not
    been sent yet.
    """
    form = UndoForm(request.POST)
    batch = stored_batch(request.session, form.value("of"))
    if batch is None:
        return redirect("queue")
    only = form.value("id")
    wanted = [one for one in may_undo(batch, request.actor) if only in (None, one)]
    undone = undo_batch(messages=wanted, actor=request.actor)
    if undone:
        messages.info(
            request,
            f"{undone} undone and held again; nothing was sent.",
            extra_tags="desk",
        )
    if not undone or len(wanted) > undone:
        messages.error(
            request,
            "What was carried out or undone before could not be undone. Each message below says what became of it.",
            extra_tags="desk",
        )
    return redirect(_done_address(batch))


def typed_in(request: DeskRequest) -> dict[str, str]:
    """Return the posted fields of the form without the sheet, to fill it again."""
    names = [name for name in BatchForm.base_fields if name != "sheet"]
    typed = {name: request.POST.get(name, "") for name in names}
    return {**typed, "preset": typed.get(f"{typed['outcome']}_preset", "")}


def _queue_address(request: DeskRequest) -> str:
    return f"{reverse('queue')}{filters_of(request).suffix}"


def _done_address(batch: Batch) -> str:
    return f"{reverse('bulk-done')}?of={batch.id}"
