"""The pages of bulk acts: the preview of what matches, with the form to reject all of
it or to request changes, and the page that shows how far an act is, with Stop.

Opening them decides nothing, and no act approves.
"""

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from approvals.bulk.acts import begin_act, stop_act
from approvals.bulk.matching import MOST, preview_of, read_matching, sign_matching
from approvals.bulk.views import ReasonsForm, typed_in
from approvals.decisions.forms import MAX_REASON
from approvals.desk_messages import DeskMessageQuerySet, desk_messages
from approvals.errors import InvalidInput
from approvals.models import Brake, BulkAct, Decision
from approvals.queue.querysets import queue_messages
from approvals.queue.rows import chips_of
from approvals.queue.views import filters_of, mailboxes_of
from approvals.usual_texts import presets_of
from common.errors import SentenceError
from common.pages import (
    DeskRequest,
    LenientForm,
    answer,
    cleaned,
    first_or_404,
    page_or_fragment,
    redirect_with_notice,
)
from mirror.states import DecisionState

# How many messages that were not decided the page of an act lists, and how many acts
# the preview.
FAILED_SHOWN = 100
ACTS_SHOWN = 5


class SourceForm(LenientForm):
    """Where the messages come from if not from a filter of the queue: what came over a
    limit (`brake`), or what one API key of a connection has sent.
    """

    brake = forms.IntegerField(required=False)
    connection = forms.IntegerField(required=False)
    key = forms.CharField(required=False, max_length=200)


def _source_of(request: DeskRequest) -> tuple[DeskMessageQuerySet, str]:
    """Return the messages that the address asks for, and as a phrase what they have in
    common. Raises InvalidInput if it has no filter, or one that is ignored in part: it
    would match more than was meant.
    """
    actor = request.actor
    form = SourceForm(request.GET)
    waiting = desk_messages().visible_to(actor).awaiting_review()
    if brake := form.value("brake"):
        flood = first_or_404(
            Brake.objects.visible_to(actor).filter(pk=brake),
            "There is no such group of messages over limit, or you may not see it.",
        )
        apart = waiting.filter(review__brake=flood).held_and_apart()
        return apart, f"over limit, {flood}"
    key, connection = form.value("key"), form.value("connection")
    if key and connection:
        sent = waiting.filter(connection=connection, sent_by_key=key)
        newest = sent.order_by("-pk").first()
        name = newest and newest.sent_by_key_name
        return sent, f"sent with the key “{name or key}”"
    filters = filters_of(request)
    is_of_queue = filters.tab in ("waiting", "mine") and filters.narrows
    if not is_of_queue or filters.remarks:
        raise InvalidInput(
            " ".join(filters.remarks) or "Choose a filter of the queue first."
        )
    chips = chips_of(filters, mailboxes_of(request))
    parts = [f"{name} {value}" for name, value, _ in chips]
    if filters.text:
        parts.append(f"with “{filters.text}”")
    matching = queue_messages().of_tab(actor, filters.tab).matching(filters)
    return matching, f"{filters.tab} in the queue, {', '.join(parts)}"


def _preview(request: DeskRequest, error: SentenceError | None = None) -> HttpResponse:
    actor = request.actor
    try:
        source, words = _source_of(request)
    except InvalidInput as invalid:
        messages.error(request, invalid.sentence, extra_tags="desk")
        return redirect("queue")
    preview = preview_of(source, words=words, actor=actor)
    context = {
        "preview": preview,
        "number": len(preview.matching.messages),
        "most": MOST,
        "signed": sign_matching(preview.matching, actor.id),
        "query": request.GET.urlencode(),
        "presets": presets_of(*preview.matching.mailboxes),
        "max_reason": MAX_REASON,
        "typed": typed_in(request),
        "acts": BulkAct.objects.visible_to(actor).order_by("-pk")[:ACTS_SHOWN],
    }
    return answer(request, "approvals/bulk/matching.html", context, error)


matching = require_safe(_preview)


@require_POST
def begin(request: DeskRequest) -> HttpResponse:
    """Begin an act on the messages that were previewed. For an invalid form, show the
    preview as it is now, with what was typed.
    """
    try:
        previewed = read_matching(request.POST.get("matching", ""), request.actor.id)
        presets = presets_of(*previewed.mailboxes)
        verdict = cleaned(ReasonsForm(request.POST, presets=presets))
        act = begin_act(
            matching=previewed,
            actor=request.actor,
            outcome=verdict["outcome"],
            reason=verdict["reason"],
        )
    except SentenceError as error:
        return _preview(request, error)
    return redirect("bulk-act", act.pk)


def _visible(request: DeskRequest, act_id: int) -> BulkAct:
    acts = BulkAct.objects.visible_to(request.actor).filter(pk=act_id)
    return first_or_404(acts, "There is no such act, or you may not see it.")


@require_safe
def act(request: DeskRequest, act_id: int) -> HttpResponse:
    """Show how far an act is, and which messages were not decided."""
    act = _visible(request, act_id)
    counts = act.counts()
    recorded = Decision.objects.filter(bulk_item__act=act, state=DecisionState.RECORDED)
    failed = act.items.failed().select_related("message", "decision").order_by("pk")
    left = act.begins_at - timezone.now()
    context = {
        "act": act,
        "verb": Decision(outcome=act.outcome).result,
        "counts": counts,
        "total": counts.total(),
        "ended": counts.total() - counts["waiting"] - counts["under_way"],
        "held_back": recorded.exclude(pk__in=recorded.due()).count(),
        "seconds": max(0, round(left.total_seconds())),
        "failed": failed[:FAILED_SHOWN],
    }
    return page_or_fragment(
        request,
        page="approvals/bulk/act.html",
        fragment="approvals/bulk/_act.html",
        context=context,
    )


@require_POST
def stop(request: DeskRequest, act_id: int) -> HttpResponse:
    """Stop an act, and say how many messages that left held and how many were carried
    out before.
    """
    act = _visible(request, act_id)
    stop_act(act, by=request.actor)
    counts = act.counts()
    ended = counts.total() - counts["stopped"] - counts["failed"]
    notice = f"Stopped: {counts['stopped']:,} are held as before. Carried out, or on their way: {ended:,}."
    return redirect_with_notice(request, notice, "bulk-act", act_id=act_id)
