"""Deciding many messages at once: the sheet that shows each of them, the verdict on
what was ticked, the outcomes.

Opening a sheet decides nothing. A message that was not on it, or has changed since, is
not decided.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import (
    require_POST,
    require_safe,
)

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
from approvals.errors import InvalidInput, http_status
from approvals.message_page.sheet import has_undo_window
from approvals.queue.views import filters_of
from approvals.usual_texts import (
    BUILT_IN,
    known_presets,
    shared_presets,
    words_named,
)
from common.fingerprint import FINGERPRINT
from common.pages import (
    DeskRequest,
    LenientForm,
    MultilineField,
    SentenceForm,
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


def chosen_messages(ids: Sequence[str]) -> tuple[list[UUID], int]:
    """Return the messages to put on a sheet, and how many did not fit. Invalid ids are
    left out.
    """
    # Twice as many are read, to count how many did not fit.
    found = list(dict.fromkeys(filter(None, map(_as_id, ids[: 2 * MAX_ITEMS]))))
    return found[:MAX_ITEMS], len(found[MAX_ITEMS:])


# Approves what is ticked and unread as well, if its number is typed.
WITH_UNREAD = "approve_unread"


class BatchForm(SentenceForm):
    """One verdict for all that is ticked on a sheet. Each act has a field of its own
    for its words.

    An approval is of what is read; with `with_unread` also of the rest, whose number
    was typed: `number_unread`, 0 for none. `counted` are the messages that the page
    counted as read.
    """

    with_unread = False
    number_unread = 0

    outcome = forms.ChoiceField(
        choices=[*Outcome.choices, (WITH_UNREAD, "Approve, with the unread ones")],
        error_messages=same_error("Choose approve, reject or request changes."),
    )
    sheet = forms.CharField(max_length=20_000, required=False)
    reject_reason = MultilineField(required=False)
    send_back_reason = MultilineField(required=False)
    reject_preset = forms.CharField(required=False, max_length=40)
    send_back_preset = forms.CharField(required=False, max_length=40)
    unread = forms.IntegerField(min_value=0, required=False)

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        self.ticked = [as_pair(value) for value in data.getlist("item")]
        self.counted = {
            UUID(key) for key, _ in map(as_pair, data.getlist("read")) if key
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        # What is no number is refused by `approvable`, which knows the right one.
        self.errors.pop("unread", None)
        outcome = cleaned.get("outcome", "")
        if outcome == WITH_UNREAD:
            self.with_unread = True
            self.number_unread = cleaned.get("unread") or 0
            outcome = cleaned["outcome"] = Outcome.APPROVE
        words = cleaned.get(f"{outcome}_reason") or ""
        preset = cleaned.get(f"{outcome}_preset") or ""
        presets = (
            known_presets(UUID(key) for key, _ in self.ticked if key)
            if preset
            else BUILT_IN
        )
        cleaned["reason"] = with_preset(outcome, preset, words, presets)
        if outcome in _MISSING and words_named(presets, outcome, preset) is None:
            self.add_error(None, CHANGED_MEANWHILE)
            return cleaned
        if outcome in _MISSING and not cleaned["reason"]:
            self.add_error(None, _MISSING[outcome])
        if len(cleaned["reason"]) > MAX_REASON:
            self.add_error(None, f"Keep the reason under {MAX_REASON} characters.")
        if outcome and not self.ticked:
            self.add_error(None, "Tick at least one message to decide.")
        return cleaned


class UndoForm(LenientForm):
    """The batch to undo, or one message of it."""

    of = forms.RegexField(r"\A[0-9a-f]{32}\Z", required=False)
    id = forms.UUIDField(required=False)


def _as_id(value: str) -> UUID | None:
    try:
        return UUID(value)
    except ValueError:
        return None


def as_pair(value: str) -> tuple[str, str]:
    """Return id and fingerprint of a ticked message; an invalid value matches nothing
    on any sheet.
    """
    key, _, version = value.partition(".")
    found = _as_id(key)
    return (
        (str(found), version)
        if found and FINGERPRINT.match(version)
        else ("", value[:10])
    )


# What is typed into a sheet's form beside the ticks.
TYPED = (
    "outcome",
    "reject_reason",
    "send_back_reason",
    "reject_preset",
    "send_back_preset",
    "unread",
)


@require_get_or_post
def sheet(request: DeskRequest) -> HttpResponse:
    """Show the chosen messages, each complete enough to be judged. Without a choice,
    redirect to the list.
    """
    chosen, too_many = chosen_messages(request.POST.getlist("id"))
    if not chosen:
        if request.method == "POST":
            messages.info(
                request,
                "Select the messages that you want to review together.",
                extra_tags="desk",
            )
        return redirect(_queue_address(request))
    return _answer_with_sheet(request, chosen, too_many=too_many)


def _answer_with_sheet(
    request: DeskRequest,
    chosen: list[UUID],
    *,
    too_many: int = 0,
    error: InvalidInput | None = None,
    ticked: set[str] | None = None,
) -> HttpResponse:
    """Show a sheet. `ticked` are the pairs that stay ticked after a refusal; otherwise
    all that can be approved are.
    """
    actor = request.actor
    gathered = gather(chosen, actor=actor, now=timezone.now())
    groups = grouped(gathered.ready)
    items = [*(one for group in groups for one in group.items), *gathered.alone]
    shown = Sheet(
        [
            OnSheet(
                one.message.public_id, one.revision.fingerprint, one.why_alone, one.like
            )
            for one in items
        ]
    )
    loaded = [one.message for one in items if one.rendered is not None]
    read = note_loaded(loaded, sheet=shown, actor=actor)
    ticked = {one.pair for one in gathered.ready} if ticked is None else ticked
    ready = [one for one in gathered.ready if one.pair in ticked]
    number_read = sum(one.message.public_id in read for one in ready)
    all_read = sum(one.message.public_id in read for one in gathered.ready)
    context = {
        "sheet": gathered,
        "groups": groups,
        "signed": sign_sheet(shown, person=actor.id),
        "ticked": ticked,
        "read": read,
        "has_read": all_read > 0,
        "has_unread": all_read < len(gathered.ready),
        "number_read": number_read,
        "number_unread": len(ready) - number_read,
        "kinds": {one.kind for one in gathered.ready},
        "can_send_back": any(not one.message.is_inbound for one in gathered.items),
        "has_undo_window": all(has_undo_window(one.message) for one in gathered.items),
        "presets": shared_presets(one.message.mailbox_id for one in gathered.items),
        "max_reason": MAX_REASON,
        "typed": _typed(request),
        "too_many": too_many,
        "error": error.sentence if error else "",
    }
    return render(
        request, "approvals/bulk/bulk.html", context, status=http_status(error)
    )


@require_POST
def decide(request: DeskRequest) -> HttpResponse:
    """Decide what was ticked on a sheet: 422 for a bad form, with all that was ticked
    and typed; else the outcomes.
    """
    actor = request.actor
    form = BatchForm(request.POST)
    is_valid = form.is_valid()
    shown: Sheet | None = None
    try:
        posted = read_sheet(form.data.get("sheet", ""), person=actor.id)
        ticked = chosen = posted.only(form.ticked)
        shown = posted
        if not is_valid:
            raise InvalidInput(form.first_error())
        outcome = form.cleaned_data["outcome"]
        if outcome == Outcome.APPROVE:
            chosen = approvable(
                ticked,
                read=read_on(ticked, actor=actor),
                counted=form.counted,
                with_unread=form.with_unread,
                typed=form.number_unread,
            )
    except InvalidInput as error:
        # The sheet again, with all that was ticked and typed; without a valid sheet, only
        # what was ticked.
        again = [UUID(key) for key, _ in form.ticked if key]
        still_ticked: set[str] = set()
        if shown:
            again = [one.message for one in shown.items]
            still_ticked = {f"{key}.{version}" for key, version in form.ticked}
        if not again:
            messages.error(request, error.sentence, extra_tags="desk")
            return redirect(_queue_address(request))
        return _answer_with_sheet(
            request,
            again[:MAX_ITEMS],
            error=error,
            ticked=still_ticked,
        )
    # Only an approval makes many messages leave at once; a rejected message can be sent
    # again by its agent.
    if outcome == Outcome.APPROVE and not is_recently_authenticated(request):
        return ask_first(request)
    if repeated := find_repeat(
        request.session, posted, chosen, outcome=outcome, actor=actor
    ):
        return redirect(_done_address(repeated))
    ended = decide_batch(
        sheet=posted,
        ticked=chosen,
        actor=actor,
        outcome=outcome,
        reason=form.cleaned_data["reason"],
        unread=form.number_unread,
    )
    batch = Batch(
        sheet=posted.id,
        outcome=outcome,
        typed={**_typed(request), "outcome": outcome, "unread": ""},
        query=filters_of(request).suffix,
        items=ended,
        unread=[str(one.message) for one in ticked if one not in chosen],
    )
    store_batch(request.session, batch)
    return redirect(_done_address(batch))


@require_POST
def seen(request: DeskRequest) -> HttpResponse:
    """Record which messages of a sheet are on screen; 422 for a sheet that is not this
    person's.
    """
    actor = request.actor
    pairs = [as_pair(value) for value in request.POST.getlist("item")[:MAX_ITEMS]]
    try:
        shown = read_sheet(request.POST.get("sheet", ""), person=actor.id)
        note_read(shown, shown.only(pairs), actor=actor)
    except InvalidInput as error:
        return HttpResponse(
            error.sentence, status=422, content_type="text/plain; charset=utf-8"
        )
    return HttpResponse(status=204)


@require_safe
def done(request: DeskRequest) -> HttpResponse:
    """Show the outcome of each message of a batch, with Undo while it has not left."""
    batch = stored_batch(request.session, UndoForm(request.GET).value("of"))
    if batch is None:
        return redirect("queue")
    context = done_context(batch, request.actor, now=timezone.now())
    return page_or_fragment(
        request,
        page="approvals/bulk/bulk_done.html",
        fragment="approvals/bulk/_bulk_done.html",
        context=context,
    )


@require_POST
def undo(request: DeskRequest) -> HttpResponse:
    """Undo one message of a batch, or all of it that has not left."""
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
            "Messages that are already being sent could not be undone.",
            extra_tags="desk",
        )
    return redirect(_done_address(batch))


def _typed(request: DeskRequest) -> dict[str, str]:
    """Return what was typed and chosen, to fill the form again."""
    typed = {name: request.POST.get(name, "") for name in TYPED}
    return {**typed, "preset": typed.get(f"{typed['outcome']}_preset", "")}


def _queue_address(request: DeskRequest) -> str:
    return f"{reverse('queue')}{filters_of(request).suffix}"


def _done_address(batch: Batch) -> str:
    return f"{reverse('bulk-done')}?of={batch.id}"
