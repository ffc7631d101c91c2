"""Views that decide one message: the verdict, the page for high risk, undo, and actions
on an unconfirmed decision.

GET never decides. After a verdict the next message of the same list is shown, under a
notice with Undo.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from approvals.decisions.decide import give_verdict, note_refusal
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
from approvals.decisions.ruling import content_changed, rulings
from approvals.decisions.status import available_actions
from approvals.decisions.withdraw import (
    confirm_approval,
    settle_by_hand,
    take_back_approval,
    undo_decision,
    withdraw_decision,
)
from approvals.desk_messages import latest_decision
from approvals.errors import InvalidInput, ReauthenticationNeeded
from approvals.message_page.content.addresses import address_lines
from approvals.message_page.sheet import approve_label, rendered_message_of, twin_of
from approvals.message_page.views import (
    ShownForm,
    answer_with_message,
    back_to_message,
    get_bare_message_or_404,
    get_visible_message_or_404,
    message_action,
)
from approvals.queue.filters import with_query
from approvals.queue.querysets import queue_messages
from approvals.queue.rows import notice_context
from approvals.queue.views import filters_of, next_in
from approvals.reconcile.check_again import check_message
from approvals.usual_texts import BUILT_IN, presets_of
from common.counts import count_of, counted
from common.pages import DeskRequest, require_get_or_post
from mirror.errors import DeskError
from mirror.models import Message
from mirror.states import Outcome
from mirror.store import stored_content
from mirror.threads import conversation_of
from people.sign_in.reauthentication import (
    ask_first,
    is_recently_authenticated,
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
    posted: Mapping[str, Any],
    *,
    typed: Mapping[str, str],
) -> HttpResponse:
    """Give a verdict and answer with the next message. A refused verdict is answered
    with the same message: 403 if it is not allowed, 409 if somebody was first or the
    message has changed.

    The refusal keeps what was typed and shows what changed since the posted version.
    """
    actor = request.actor
    try:
        give_verdict(
            message=message.public_id,
            actor=actor,
            is_reauthenticated=is_recently_authenticated(request),
            **posted,
        )
    except ReauthenticationNeeded:
        return ask_first(request)
    except DeskError as error:
        note_refusal(
            message, actor=actor, outcome=posted["outcome"], sentence=error.sentence
        )
        return answer_with_message(
            request,
            message.public_id,
            error,
            typed=typed,
            seen_fingerprint=posted["fingerprint"],
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


@message_action
def undo(request: DeskRequest, public_id: UUID) -> str:
    """Undo a decision that has not been sent to MultiMail, and show the message, which
    is held again.
    """
    undo_decision(message=public_id, actor=request.actor)
    return ""


@message_action
def take_back(request: DeskRequest, public_id: UUID) -> str:
    """Take back the person's own approval while others still have to approve, and show
    the message.
    """
    take_back_approval(message=public_id, actor=request.actor)
    return "Your approval is taken back. The message is held."


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
    ruling = rulings([message], request.actor, now=timezone.now())[message.pk]
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
        request.POST if request.method == "POST" else None,
        findings=findings,
        asked=recipient_question(content, is_inbound=is_inbound, suspicious=suspicious),
        has_late=bool(conversation.late),
    )
    if form.is_valid():
        posted = {
            "outcome": Outcome.APPROVE,
            "fingerprint": form.cleaned_data["fingerprint"],
            "reason": "",
            "later": form.cleaned_data["later"],
            "thread_read": int(form.cleaned_data["thread_read"] or 0),
            "risk_read": form.cleaned_data["risk_read"],
        }
        return _decide(request, message, posted, typed={"outcome": Outcome.APPROVE})
    if seen and is_other:
        # What was ticked was read on another version.
        return answer_with_message(
            request,
            public_id,
            content_changed(message, seen),
            typed={"outcome": Outcome.APPROVE},
            seen_fingerprint=seen,
        )
    lines = address_lines(message, content, actor=request.actor)
    labels = ("From",) if is_inbound else ("To", "Cc", "Bcc")
    fields = [line for line in lines if line.label in labels]
    context: dict[str, Any] = {
        "message": message,
        "actions": available_actions(
            message,
            latest_decision(message),
            is_reviewer=ruling.may_reject,
            may_look=False,
        ),
        "revision": message.revision,
        "content": content,
        "fields": fields,
        "others": sum(one.number for one in fields) - 1,
        "findings": findings,
        "form": form,
        "typed": form.data,
        "later": later_context(message),
        "wrong": form.errors_by_field(),
        "error": form.problem(),
        "approve_label": approve_label(content, message, ruling.demand),
        "ruling": ruling,
        "conversation": conversation,
        "twin": twin_of(rendered_message_of(message.revision, content)),
        "is_high": bool(serious_findings(message)),
        "presets": presets_of(message.mailbox_id),
        "max_reason": MAX_REASON,
    }
    status = 422 if form.is_bound else 200
    return render(
        request, "approvals/message_page/high_risk.html", context, status=status
    )


@message_action
def withdraw(request: DeskRequest, public_id: UUID) -> str:
    """Withdraw a decision whose call may have left already. It may still take effect."""
    withdraw_decision(message=public_id, actor=request.actor)
    return ""


@message_action
def send_again(request: DeskRequest, public_id: UUID) -> str:
    """Send an unconfirmed approval again, after reads have shown that MultiMail still
    holds the message.
    """
    confirm_approval(message=public_id, actor=request.actor)
    return ""


@message_action
def settle(request: DeskRequest, public_id: UUID) -> str:
    """Settle a decision by hand, if MultiMail does not report what became of it."""
    form = SettleForm(request.POST)
    if not form.is_valid():
        raise InvalidInput("Say whether it was carried out or not.")
    took_effect = form.cleaned_data["took_effect"] == "yes"
    settle_by_hand(message=public_id, actor=request.actor, took_effect=took_effect)
    return ""


@message_action
def look(request: DeskRequest, public_id: UUID) -> str:
    """Have MultiMail asked about this message now, and stay on its page."""
    check_message(message=public_id, actor=request.actor)
    return "Checking with MultiMail. The result appears here."


def have_asked(request: DeskRequest, public_id: UUID) -> None:
    """Have MultiMail asked about one message: for its content, its decision, or what
    became of it.

    Raises ActNotAllowed for people who may only read, and Http404 where the message is
    not visible to them.
    """
    get_bare_message_or_404(request, public_id)
    check_message(message=public_id, actor=request.actor)
