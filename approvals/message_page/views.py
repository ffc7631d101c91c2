"""The page of one message: what its recipients would get, why it may be risky, and the
bar to decide from; the verdict, the page for high risk, undo, and actions on an
unconfirmed decision. Also what the other views of a message share.

GET never decides. After a verdict the next message of the same list is shown, under a
notice with Undo.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import wraps
from typing import Any
from uuid import UUID

from django import forms
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import trigger_client_event

from approvals.collaboration import touch_claim
from approvals.decisions.decide import came_back, give_verdict, note_refusal
from approvals.decisions.forms import (
    MAX_REASON,
    HighRiskForm,
    SettleForm,
    VerdictForm,
    recipient_question,
    serious_findings,
    to_be_read,
    with_preset,
)
from approvals.decisions.later import later_context
from approvals.decisions.ruling import (
    content_changed,
    is_reviewer,
    may_handle,
    ruling_of,
    stop_of,
)
from approvals.decisions.shown import (
    OPENED,
    SERVED,
    attached_files,
    note_opened,
    note_served,
    opened_parts,
    unread_parts,
)
from approvals.decisions.status import (
    available_actions,
    how_lost,
    left_after_all,
    shown_status,
    still_withdrawn,
)
from approvals.decisions.withdraw import (
    confirm_approval,
    settle_by_hand,
    take_back_approval,
    undo_decision,
    withdraw_decision,
)
from approvals.desk_messages import (
    desk_messages,
    latest_decision,
    our_decisions,
    shown_message,
)
from approvals.errors import InvalidInput, ReauthenticationNeeded
from approvals.message_page.content.addresses import address_lines
from approvals.message_page.content.differences import (
    changes_since,
    changes_since_sent_back,
    edits_context,
)
from approvals.message_page.content.source import stretch_of
from approvals.message_page.sheet import (
    Way,
    approve_label,
    has_undo_window,
    inbox_of,
    rendered_message_of,
    sheet_context,
    stated_facts,
    twin_of,
    way_asked,
)
from approvals.message_page.side_panel import (
    actions_on,
    files_shown,
    findings_of,
    origin_of,
    panel_context,
    ticks_shown,
)
from approvals.models import Decision, Verdict
from approvals.pictures import shown_pictures
from approvals.queue.filters import Filters, MessageForm, with_query
from approvals.queue.querysets import queue_messages
from approvals.queue.rows import delay_of, expiry_of, notice_context
from approvals.queue.views import (
    filters_of,
    mailboxes_of,
    next_in,
    place_of,
    queue_context,
)
from approvals.reconcile.check_again import check_message
from approvals.usual_texts import BUILT_IN, presets_of
from common.actors import Actor
from common.counts import count_of, counted
from common.errors import SentenceError
from common.fingerprint import FINGERPRINT
from common.pages import (
    DeskRequest,
    LenientForm,
    answer,
    first_or_404,
    page_or_fragment,
    posted,
    redirect_with_notice,
    require_get_or_post,
)
from common.postgres import clock
from mirror.errors import DeskError
from mirror.models import Message
from mirror.states import DecisionState, MessageState, Outcome
from mirror.store import stored_content
from mirror.threads import conversation_of, enqueue_freshen
from people.sign_in.reauthentication import (
    ask_first,
    is_recently_authenticated,
)
from rendering.passages import with_marks

_NO_MESSAGE = "There is no such message, or you may not see its mailbox."


class ViewedForm(forms.Form):
    """A file or a finding of a version, and whether it was viewed."""

    name = forms.RegexField(r"\A(file-[0-9]{1,6}|finding-[0-9a-f]{16})\Z")
    fingerprint = forms.RegexField(FINGERPRINT)
    is_viewed = forms.TypedChoiceField(
        choices=[("yes", "Viewed"), ("no", "Not viewed")], coerce="yes".__eq__
    )


class ShownForm(LenientForm):
    """The form field with the fingerprint of the version that was on screen."""

    fingerprint = forms.RegexField(FINGERPRINT, required=False)


@require_safe
def message_page(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show one message beside the queue. The ledger records that it was loaded or
    opened; the message does not change.
    """
    parameters = MessageForm(request.GET)
    return answer_with_message(
        request,
        public_id,
        seen_fingerprint=parameters.value("since"),
        decided=parameters.value("decided"),
    )


def answer_with_message(
    request: DeskRequest,
    public_id: UUID,
    error: SentenceError | None = None,
    *,
    notice: str = "",
    typed: Mapping[str, str] = {},
    seen_fingerprint: str | None = None,
    decided: UUID | None = None,
) -> HttpResponse:
    """Show the message. After a refused action, `error` is shown and the form keeps
    what was `typed`.

    If `seen_fingerprint`, the version that the reader has seen, is not the current one,
    the page shows what changed since, and asks them to read that first. `decided` is
    the message that they have just decided, for the notice with Undo.
    """
    actor = request.actor
    message = get_visible_message_or_404(request, public_id)
    filters = filters_of(request)
    happened = actions_on(message)
    context = message_context(
        message, actor, filters=filters, happened=happened, way=way_asked(request)
    )
    context |= {
        "notice": notice,
        # A defaultdict, because templates look up what was typed a hundred times, and
        # Django is slow for missing keys: it raises an exception for each.
        "typed": defaultdict(str, typed),
        "changed": changes_since(message, seen_fingerprint),
    }
    context |= notice_context(actor, decided)
    context |= panel_context(
        request,
        message,
        presets=context["presets"],
        happened=happened,
    )
    if message.revision is not None and request.method != "HEAD":
        # An htmx page reports by itself when it is on screen (`opened`), and a
        # prefetched page was seen by nobody, so these are recorded as loaded only.
        is_ahead = is_prefetch(request)
        is_opened = not (request.htmx or is_ahead)
        acts = (SERVED, OPENED) if is_opened else (SERVED,)
        note_served(message, actor, actions=acts)
        if is_opened and context["has_claim"]:
            touch_claim(message, actor)
        if is_opened or is_ahead:
            enqueue_freshen(message)
    if not request.htmx:
        context |= queue_context(
            actor, filters=filters, now=timezone.now(), mailboxes=mailboxes_of(request)
        )
    return page_or_fragment(
        request,
        page="approvals/message_page/message.html",
        fragment="approvals/message_page/_message.html",
        context=context,
        error=error,
    )


def back_to_message(
    request: DeskRequest, public_id: UUID, *, notice: str = ""
) -> HttpResponse:
    """Answer an action with the message as it is now: the fragment for htmx, else a
    redirect to its page.
    """
    if request.htmx:
        return answer_with_message(request, public_id, notice=notice)
    return redirect_with_notice(request, notice, message_address(request, public_id))


def message_action(
    act: Callable[[DeskRequest, UUID], str],
) -> Callable[[DeskRequest, UUID], HttpResponse]:
    """Decorator: make a POST view of a function that acts on a message and returns a
    notice for its page.

    The person must be able to see the message. If the function raises a DeskError, the
    answer is the message with the error's sentence and status, such as 403 if the
    person may not act, or 409 if the message has changed.
    """

    @require_POST
    @wraps(act)
    def view(request: DeskRequest, public_id: UUID) -> HttpResponse:
        message = get_bare_message_or_404(request, public_id)
        try:
            notice = act(request, public_id)
        except DeskError as error:
            note_refused_act(request, message, error)
            return answer_with_message(request, public_id, error)
        return back_to_message(request, public_id, notice=notice)

    return view


def note_refused_act(
    request: DeskRequest, message: Message, error: SentenceError, reason: str = ""
) -> None:
    """Record that the act at the request's URL was refused, with the typed reason."""
    match = request.resolver_match
    note_refusal(
        message,
        actor=request.actor,
        act=str(match.url_name if match else ""),
        sentence=error.sentence,
        reason=reason,
    )


def command_action(
    command: Callable[..., object], notice: str = ""
) -> Callable[[DeskRequest, UUID], HttpResponse]:
    """Return the POST view of a command that needs only the message and the actor."""

    def act(request: DeskRequest, public_id: UUID) -> str:
        command(message=public_id, actor=request.actor)
        return notice

    return message_action(act)


def message_address(request: DeskRequest, public_id: UUID) -> str:
    """Return the URL of a message's page, with the queue's filters of the request."""
    return reverse("message", args=[public_id]) + filters_of(request).suffix


def framed(content: str | bytes, **options: Any) -> HttpResponse:
    """Return a response for the frame that shows mail. The middleware gives it a CSP
    under which nothing in it loads or runs.
    """
    response = HttpResponse(content, **options)
    response.is_mail_frame = True  # type: ignore[attr-defined]
    return response


def is_prefetch(request: DeskRequest) -> bool:
    """Whether a browser prefetches the page, so that nobody has seen it."""
    names = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
    purposes = " ".join(request.headers.get(name, "") for name in names).lower()
    return any(word in purposes for word in ("prefetch", "prerender", "preview"))


def get_visible_message_or_404(request: DeskRequest, public_id: UUID) -> Message:
    """Return the message with the related rows that its page shows. Raise Http404 if
    the actor may not see it.
    """
    message = shown_message(request.actor, public_id)
    if message is None:
        raise Http404(_NO_MESSAGE)
    return message


def get_bare_message_or_404(request: DeskRequest, public_id: UUID) -> Message:
    """Return the message with only its current version, for actions on it. Raise
    Http404 if the actor may not see it.
    """
    visible = Message.objects.visible_to(request.actor).select_related("revision")
    return first_or_404(visible.filter(public_id=public_id), _NO_MESSAGE)


def message_context(
    message: Message,
    actor: Actor,
    *,
    filters: Filters,
    happened: Collection[str],
    way: Way,
) -> dict[str, Any]:
    """Return the template context of the message pane.

    `filters` are those of the list beside it, which give the message's place and the
    next message. `happened` are the actions of the ledger on the message.
    """
    now = timezone.now()
    revision = message.revision
    content = stored_content(revision) if revision else None
    rendered = rendered_message_of(revision, content) if revision else None
    files = attached_files(message)
    opened = opened_parts(message, actor)
    ruling = ruling_of(message, actor, now=now)
    findings = findings_of(message, query=filters.suffix)
    conversation = conversation_of(message)
    fields = address_lines(message, content, actor)
    sent_back = changes_since_sent_back(message)
    decision = latest_decision(message)
    has_ended = decision is not None and decision.state in (
        DecisionState.APPLIED,
        DecisionState.SUPERSEDED,
    )
    may_review = is_reviewer(actor, message)
    may_comment = may_handle(actor, message)
    actions = available_actions(
        message,
        decision,
        is_reviewer=may_review,
        may_look=may_comment,
        came_back=has_ended and message.is_held and came_back(message),
    )
    undo_seconds, _, waits_for = delay_of(message, decision, actions, now)
    decisions = our_decisions(message)
    if any(one.is_approval and one.state == DecisionState.APPLIED for one in decisions):
        # MultiMail may have sent it already, so it can only be rejected.
        actions = replace(actions, can_approve=False)
    unread = unread_parts(message, conversation, files, opened)
    context: dict[str, Any] = {
        "message": message,
        "revision": revision,
        "content": content,
        "rendered": rendered,
        "fields": fields,
        "approve_label": approve_label(content, message, ruling.demand),
        "presets": presets_of(message.mailbox_id),
        "max_reason": MAX_REASON,
        "findings": findings,
        "is_high": any(one.level == "high" for one in findings),
        # The keyboard shortcut approves at once only if that can be undone; otherwise
        # it focuses the button.
        "has_undo_window": has_undo_window(message),
        "ruling": ruling,
        # What rules of the policy apply for, where it is marked in the message.
        "marked": with_marks(rendered.document, ruling.demand.passages)[1]
        if rendered and message.is_held
        else {},
        "expiry": expiry_of(message, now),
        "is_unreadable": message.hydrated_at is None and message.is_given_up,
        "stop": SimpleLazyObject(lambda: stop_of(message)),
        "sent_back": sent_back,
        "place": place_of(actor, filters, message),
        "now": now,
        "start": origin_of(message, actor),
        "conversation": conversation,
        "ticks": ticks_shown(message, opened, actor),
        "may_comment": may_comment,
        "later": later_context(message),
        "pictures": shown_pictures(message) if rendered and rendered.blocked else None,
        "status": shown_status(message),
        "decision": decision,
        "newest_verdict": max(
            message.verdicts.values_list("pk", flat=True), default=None
        )
        if decision
        else None,
        "actions": actions,
        "undo_seconds": undo_seconds,
        "waits_for": waits_for,
        "left_after_all": left_after_all(decisions),
        "how_lost": how_lost(decision),
        "also_withdrawn": still_withdrawn(decisions, decision),
        "unread": unread,
        "links_are_unread": any(part.anchor == "links" for part in unread),
    }
    if content is not None and rendered is not None:
        context["inbox"] = inbox_of(content, rendered)
        if message.is_inbound:
            context["agent_text"] = stretch_of(content.markdown or "")
        if not rendered.doubt:
            # More of a thread is not searched.
            thread = (one.text for one in conversation.messages[:20] if one.text)
            domains = (one.domain for one in rendered.links if one.domain)
            context["facts"] = stated_facts(
                f"{content.subject}\n{rendered.plain}", tuple(domains), tuple(thread)
            )
    context |= edits_context(
        message,
        was_edited="message.edit_asked" in happened,
        is_edited=bool(ruling.contributors.editors),
    )
    context |= files_shown(message, files, opened)

    context |= sheet_context(
        message, content, rendered, way=way, sent_back=sent_back, query=filters.suffix
    )
    return context


@require_POST
def opened(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Record that the message is on the person's screen, as its page reports."""
    actor = request.actor
    message = get_bare_message_or_404(request, public_id)
    note_opened(
        message,
        actor,
        fingerprint=ShownForm(request.POST).value("fingerprint") or "",
    )
    touch_claim(message, actor)
    enqueue_freshen(message)
    return HttpResponse(status=204)


@require_safe
def by_upstream_id(request: DeskRequest, upstream_id: str) -> HttpResponse:
    """Redirect from MultiMail's message id to the message's page, or offer a choice if
    messages of several connections have this id.
    """
    visible = desk_messages().visible_to(request.actor).for_page()
    # PostgreSQL rejects U+0000 in parameters.
    matches = list(visible.filter(upstream_id=upstream_id.replace("\0", " ")))
    if not matches:
        raise Http404(
            "No message with this id has reached this desk, or you may not see its mailbox."
        )
    if len(matches) == 1:
        return redirect("message", public_id=matches[0].public_id)
    return render(
        request,
        "approvals/message_page/choose.html",
        {"messages": matches, "upstream_id": upstream_id},
    )


@require_POST
def verdict(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Record one verdict. For an invalid form, answer 422 and keep what was typed."""
    message = get_bare_message_or_404(request, public_id)
    typed = defaultdict(str, request.POST.dict())
    presets = presets_of(message.mailbox_id) if typed["preset"] else BUILT_IN
    typed["words"] = with_preset(
        typed["outcome"], typed["preset"], typed["reason"], presets
    )
    # Where no verdict can be given any more, it can be said to colleagues.
    typed["comment"] = typed["words"]
    form = VerdictForm(request.POST, presets=presets)
    if form.is_valid():
        return _decide(request, message, form.cleaned_data, typed=typed)
    seen_fingerprint = ShownForm(request.POST).value("fingerprint")
    error = InvalidInput(form.first_error())
    return answer_with_message(
        request, public_id, error, typed=typed, seen_fingerprint=seen_fingerprint
    )


def _decide(
    request: DeskRequest,
    message: Message,
    entered: Mapping[str, Any],
    *,
    typed: Mapping[str, str],
) -> HttpResponse:
    """Give a verdict and answer with the next message. A refused verdict is answered
    with the same message: 403 if it is not allowed, 409 if somebody was first or the
    message has changed.

    The refusal keeps what was typed and shows what changed since the version on screen.
    """
    actor = request.actor
    try:
        give_verdict(
            message=message.public_id,
            actor=actor,
            is_reauthenticated=is_recently_authenticated(request),
            # It may wait for the message: what somebody stops meanwhile stays.
            pressed_at=clock(),
            **entered,
        )
    except ReauthenticationNeeded:
        return ask_first(request)
    except DeskError as error:
        note_refusal(
            message,
            actor=actor,
            outcome=entered["outcome"],
            sentence=error.sentence,
            reason=entered["reason"],
        )
        return answer_with_message(
            request,
            message.public_id,
            error,
            typed=typed,
            seen_fingerprint=entered["fingerprint"],
        )
    # Show the next message of the list, or the empty pane if the list has none.
    filters = filters_of(request)
    following = next_in(actor, filters, message)
    if not request.htmx:
        path = reverse("message", args=[following]) if following else reverse("queue")
        return redirect(
            with_query(path + filters.suffix, f"decided={message.public_id}")
        )
    if following:
        return answer_with_message(request, following, decided=message.public_id)
    others_wait = 0
    if filters.narrows or filters.tab != "waiting":
        others_wait = count_of(queue_messages().waiting_for(actor))
    context = {
        **notice_context(actor, message.public_id),
        "filters": filters,
        "queue_query": replace(filters, after=None).suffix,
        "others_wait": counted(others_wait) if others_wait else "",
    }
    return render(request, "approvals/message_page/_nothing_left.html", context)


# Undo a decision that has not been sent to MultiMail; the message is held again.
undo = command_action(undo_decision)
# Take back the person's own approval while others still have to approve.
take_back = command_action(
    take_back_approval, "Your approval is taken back. The message is held."
)
# Withdraw a decision whose call may have left already. It may still take effect.
withdraw = command_action(withdraw_decision)
# Send an unconfirmed approval again, after reads have shown that MultiMail still holds
# the message.
send_again = command_action(confirm_approval)
# Have MultiMail asked about this message now, and stay on its page.
look = command_action(
    check_message, "Checking with MultiMail. The result appears here."
)


@require_POST
def undo_newest(request: DeskRequest) -> HttpResponse:
    """Undo the person's newest decision that can still be undone, or take back their
    newest approval if that is newer, and show its message. The key Z goes back by it.
    """
    person = request.actor.person_id
    decisions = Decision.objects.visible_to(request.actor).filter(
        given_by=person, state=DecisionState.RECORDED, may_have_left=False
    )
    approvals = Verdict.objects.visible_to(request.actor).filter(
        person=person, awaits_others=True, message__state=MessageState.HELD
    )
    decision = decisions.order_by("recorded_at").last()
    approval = approvals.order_by("given_at").last()
    if approval and not (decision and decision.recorded_at > approval.given_at):
        return take_back(request, approval.message.public_id)
    if decision:
        return undo(request, decision.message.public_id)
    nothing = {"text": "There is nothing left to undo."}
    return trigger_client_event(HttpResponse(status=204), "desk:say", nothing)


@require_safe
def decided(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show the notice about the person's own decision as it is now; the notice above
    the next message polls this.
    """
    get_bare_message_or_404(request, public_id)
    if not request.htmx:
        return redirect("message", public_id=public_id)
    return render(
        request,
        "approvals/queue/_decision_notice.html",
        notice_context(request.actor, public_id),
    )


@require_get_or_post
def approve(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show the confirmation page with all serious findings. On POST, approve if all of
    them were ticked as read, else answer 422.

    A rule of the policy that asks for care asks for this page without serious findings,
    too.
    """
    message = get_visible_message_or_404(request, public_id)
    ruling = ruling_of(message, request.actor, now=timezone.now())
    findings = to_be_read(message, ruling.demand.effects)
    seen = ShownForm(request.POST).value("fingerprint")
    is_other = bool(seen) and seen != message.fingerprint
    if message.revision is None or not (findings or is_other):
        # Nothing to confirm: the message is approved on its own page.
        return back_to_message(
            request,
            public_id,
            notice="Nothing was approved. It needs no confirmation now: approve it here."
            if request.method == "POST"
            else "",
        )
    conversation = conversation_of(message)
    suspicious = {piece.lower() for one in findings for piece in one.evidence}
    content = stored_content(message.revision)
    is_inbound = message.is_inbound
    form = HighRiskForm(
        posted(request),
        findings=findings,
        asked=recipient_question(content, is_inbound=is_inbound, suspicious=suspicious),
        has_late=bool(conversation.late),
    )
    if form.is_valid():
        typed = {"outcome": Outcome.APPROVE}
        return _decide(request, message, form.cleaned_data, typed=typed)
    if seen and is_other:
        # What was ticked was read on another version.
        return answer_with_message(
            request,
            public_id,
            content_changed(message, seen),
            typed={"outcome": Outcome.APPROVE},
            seen_fingerprint=seen,
        )
    lines = address_lines(message, content, request.actor)
    codes = ("from",) if is_inbound else ("to", "cc", "bcc")
    fields = [line for line in lines if line.code in codes]
    context = {
        "message": message,
        "actions": available_actions(
            message,
            latest_decision(message),
            is_reviewer=ruling.may_reject,
        ),
        "revision": message.revision,
        "content": content,
        "fields": fields,
        "others": sum(one.number for one in fields) - 1,
        "findings": findings,
        "form": form,
        "typed": form.data,
        "later": later_context(message),
        "wrong": form.errors,
        "approve_label": approve_label(content, message, ruling.demand),
        "ruling": ruling,
        "conversation": conversation,
        "twin": twin_of(rendered_message_of(message.revision, content)),
        "is_high": bool(serious_findings(message)),
        "presets": presets_of(message.mailbox_id),
        "max_reason": MAX_REASON,
    }
    return answer(request, "approvals/message_page/high_risk.html", context, form=form)


@message_action
def settle(request: DeskRequest, public_id: UUID) -> str:
    """Settle a decision by hand, if MultiMail does not report what became of it."""
    form = SettleForm(request.POST)
    if not form.is_valid():
        raise InvalidInput("Say whether it was carried out or not.")
    took_effect = form.cleaned_data["took_effect"] == "yes"
    settle_by_hand(message=public_id, actor=request.actor, took_effect=took_effect)
    return ""
