"""The pages of bulk review: the sheet of chosen messages, the verdict on the ticked
ones, and their outcomes with Undo.

Opening a sheet decides nothing. A message that was not on the sheet, or has changed
since it was shown, is not decided.
"""

from collections.abc import Collection, Sequence
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
    stored_batches,
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
from approvals.decisions.forms import (
    CHANGED_MEANWHILE,
    MAX_REASON,
    WithPresets,
    with_preset,
)
from approvals.errors import InvalidInput
from approvals.message_page.sheet import has_undo_window
from approvals.queue.filters import as_id
from approvals.queue.views import filters_of
from approvals.usual_texts import known_presets, presets_of, words_named
from common.errors import SentenceError
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


class ReasonsForm(WithPresets, SentenceForm):
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

    def clean(self) -> None:
        cleaned = self.cleaned_data
        cleaned["reason"] = ""
        outcome = cleaned.get("outcome")
        if outcome not in _MISSING:
            return
        preset = cleaned.get(f"{outcome}_preset", "")
        words = cleaned.get(f"{outcome}_reason", "")
        reason = with_preset(outcome, preset, words, self.presets)
        cleaned["reason"] = reason
        if words_named(self.presets, outcome, preset) is None:
            self.add_error(None, CHANGED_MEANWHILE)
        elif not reason:
            self.add_error(None, _MISSING[outcome])
        elif len(reason) > MAX_REASON:
            self.add_error(None, f"Keep the reason under {MAX_REASON} characters.")


class BatchForm(ReasonsForm):
    """One verdict for all ticked messages of a sheet. An approval is only of the
    messages that were read, or with WITH_UNREAD of all, if the number of unread ones is
    typed.
    """

    outcome = forms.ChoiceField(
        choices=[*Outcome.choices, (WITH_UNREAD, "Approve, with the unread ones")],
        error_messages=same_error("Choose approve, reject or request changes."),
    )
    unread = forms.IntegerField(min_value=0, required=False)

    def clean(self) -> None:
        # If this is no number, `approvable` refuses it, with the right number in the
        # error.
        self.errors.pop("unread", None)
        super().clean()


class UndoForm(LenientForm):
    """The batch to undo, or one message of it."""

    of = forms.RegexField(r"\A[0-9a-f]{32}\Z", required=False)
    id = forms.UUIDField(required=False)


@require_get_or_post
def sheet(request: DeskRequest) -> HttpResponse:
    """Show the sheet of the chosen messages. If none is chosen, redirect to the queue."""
    chosen = _ids(request.POST.getlist("id"))
    if not chosen:
        if request.method == "POST":
            messages.info(
                request,
                "Select the messages that you want to review together.",
                extra_tags="desk",
            )
        return redirect(_queue_address(request))
    return _answer_with_sheet(request, chosen)


def _ids(values: Sequence[str]) -> list[UUID]:
    """Return the ids of messages among the values, each once."""
    # Twice as many as fit are read, to count how many did not fit.
    ids = map(as_id, values[: 2 * MAX_ITEMS])
    return list(dict.fromkeys(filter(None, ids)))


def _answer_with_sheet(
    request: DeskRequest,
    chosen: Sequence[UUID],
    *,
    error: SentenceError | None = None,
    ticked: Collection[str] | None = None,
) -> HttpResponse:
    """Show a sheet, and record which messages were loaded. `ticked` are the tick boxes
    to tick again after an error; if it is None, all that can be approved are ticked.
    """
    actor = request.actor
    gathered = gather(chosen[:MAX_ITEMS], actor=actor, now=timezone.now())
    groups = grouped(gathered.ready)
    items = [*(one for group in groups for one in group.items), *gathered.alone]
    shown_sheet = Sheet([one.on_sheet for one in items])
    read = read_on(shown_sheet.items, actor)
    loaded = [
        one.message
        for one in items
        if one.rendered is not None and one.message.public_id not in read
    ]
    note_loaded(loaded, sheet=shown_sheet, actor=actor)
    if ticked is None:
        ticked = {one.on_sheet.pair for one in gathered.ready}
    ready = [one for one in gathered.ready if one.on_sheet.pair in ticked]
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
        "too_many": len(chosen[MAX_ITEMS:]),
    }
    return answer(request, "approvals/bulk/bulk.html", context, error)


@require_POST
def decide(request: DeskRequest) -> HttpResponse:
    """Decide the ticked messages and redirect to their outcomes. For an invalid form,
    show the sheet again with status 422 and all that was ticked and typed.
    """
    actor = request.actor
    boxes = request.POST.getlist("item")
    try:
        posted = read_sheet(request.POST.get("sheet", ""), actor.id)
        ticked = posted.only(boxes)
    except InvalidInput as error:
        # Show a sheet of the ticked messages, without ticks.
        message_ids = _ids([box.partition(".")[0] for box in boxes])
        if message_ids:
            return _answer_with_sheet(request, message_ids, error=error, ticked=())
        messages.error(request, error.sentence, extra_tags="desk")
        return redirect(_queue_address(request))
    presets = known_presets(one.message for one in ticked)
    form = BatchForm(request.POST, presets=presets)
    chosen: Sequence[OnSheet] = ticked
    try:
        outcome = cleaned(form)["outcome"]
        if not ticked:
            raise InvalidInput("Tick at least one message to decide.")
        read = read_on(ticked, actor)
        unread = len(ticked) - len(read)
        if outcome in (Outcome.APPROVE, WITH_UNREAD):
            typed = None
            if outcome == WITH_UNREAD:
                typed = form.cleaned_data.get("unread") or 0
            outcome = Outcome.APPROVE
            unread = typed or 0
            counted = request.POST.getlist("read")
            chosen = approvable(ticked, read=read, counted=counted, typed=typed)
    except (FormInvalid, InvalidInput) as error:
        shown = [one.message for one in posted.items]
        return _answer_with_sheet(request, shown, error=error, ticked=boxes)
    # Only an approval requires recent authentication: it sends many messages at once.
    # After a wrong reject, the agent can send the message again.
    if outcome == Outcome.APPROVE and not is_recently_authenticated(request):
        return ask_first(request)
    if repeated := find_repeat(
        request.session, posted, chosen, outcome=outcome, actor=actor
    ):
        return redirect(_done_address(repeated))
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
    try:
        posted = read_sheet(request.POST.get("sheet", ""), actor.id)
        note_read(posted, posted.only(request.POST.getlist("item")), actor=actor)
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
    batch = stored_batches(request.session).get(UndoForm(request.GET).value("of"))
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
    batch = stored_batches(request.session).get(form.value("of"))
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
    typed = {name: request.POST.get(name, "") for name in BatchForm.base_fields}
    return {**typed, "preset": typed.get(f"{typed['outcome']}_preset", "")}


def _queue_address(request: DeskRequest) -> str:
    return f"{reverse('queue')}{filters_of(request).suffix}"


def _done_address(batch: Batch) -> str:
    return f"{reverse('bulk-done')}?of={batch.id}"
