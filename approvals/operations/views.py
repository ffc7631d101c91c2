"""The page Needs attention, and the actions on its items and groups: ask MultiMail
about a message again, and replay, compare or dismiss a webhook.
"""

from contextlib import suppress
from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from approvals import tasks
from approvals.errors import EventAlreadyHandled
from approvals.intake.ingest import dismiss_event, replay_event
from approvals.message_page.views import get_bare_message_or_404
from approvals.operations.attention import READ, attention_count, attention_for
from approvals.operations.items import grouped
from approvals.reconcile.check_again import check_message
from common.actors import Actor
from common.errors import SentenceError
from common.pages import DeskRequest, changes, first_or_404, page_or_fragment
from mirror.errors import ActNotAllowed
from mirror.models import Message, WebhookEvent

# The notice after a replay, by the new result of the webhook.
_REPLAYED = {
    "applied": "The webhook was applied.",
    "late": "The webhook was read but changes nothing: its message already had a later status.",
    "unknown": "The webhook was read, but this version does not know its event.",
    "checking": "The webhook was read: MultiMail is asked whether what it reports is true.",
    "poison": "The webhook still could not be applied. It stays here with its error.",
}


def _page(
    request: DeskRequest, *, error: SentenceError | None = None, **_: Any
) -> HttpResponse:
    """Show the items that need a person and that the actor may see, in groups."""
    actor = request.actor
    now = timezone.now()
    items = attention_for(actor, now)
    total = len(items)
    if total >= READ:
        # There may be more items of a kind than were read.
        total = max(attention_count(actor), total)
    context = {
        "found": grouped(items),
        "read": len(items),
        "read_of_a_kind": READ,
        "total": total,
        "more": total - len(items),
        # The rail shows the same number.
        "desk_stuck": total,
        "now": now,
    }
    return page_or_fragment(
        request,
        page="approvals/operations/attention.html",
        fragment="approvals/operations/_attention.html",
        context=context,
        error=error,
    )


attention = require_safe(_page)
_changes = changes(_page, to="attention")


@require_POST
@_changes
def look(request: DeskRequest, public_id: UUID) -> str:
    """Enqueue a question to MultiMail about the message of an item."""
    get_bare_message_or_404(request, public_id)
    check_message(message=public_id, actor=request.actor)
    return "Checking with MultiMail. The result appears here in a few seconds."


@require_POST
@_changes
def settle_group(request: DeskRequest, key: str) -> str:
    """Do the action of a group for each of its items that the actor may act on; with
    do=dismiss, dismiss its webhooks instead.
    """
    actor = request.actor
    groups = grouped(attention_for(actor, timezone.now()))
    group = next((one for one in groups if one.key == key), None)
    if group is None:
        raise Http404("Nothing of this is left, or you may not see it.")
    if not group.acts:
        raise ActNotAllowed(f"This is for {group.first.whose}.")
    for one in group.acts:
        # Items that somebody else has just handled are skipped.
        with suppress(EventAlreadyHandled):
            if one.event is None:
                assert one.message is not None, "only messages and webhooks have groups"
                check_message(message=one.message.public_id, actor=actor)
            elif request.POST.get("do") == "dismiss":
                dismiss_event(event_id=one.event.pk, actor=actor)
            elif one.kind == WebhookEvent.Result.POISON:
                replay_event(event_id=one.event.pk, actor=actor)
            else:
                _compare(one.event, actor)
    return f"Started for {len(group.acts)}. The result appears here in a few seconds."


def _compare(event: WebhookEvent, actor: Actor) -> None:
    # Dismisses a webhook, and enqueues a question to MultiMail about its message; if
    # the mirror does not have it, a whole read.
    dismiss_event(event_id=event.pk, actor=actor)
    about = (
        Message.objects.visible_to(actor)
        .known_as(connection=event.connection_id, upstream_id=event.email_id)
        .first()
    )
    if about is None:
        tasks.read_connection.delay_on_commit(event.connection_id)
    else:
        tasks.ask_about.delay_on_commit(about.pk)


def _event_or_404(request: DeskRequest, event_id: int) -> WebhookEvent:
    visible = WebhookEvent.objects.visible_to(request.actor)
    return first_or_404(
        visible.select_related("connection").filter(pk=event_id),
        "There is no such webhook, or you may not see its connection.",
    )


@require_POST
@_changes
def replay(request: DeskRequest, event_id: int) -> str:
    """Apply a stored webhook again."""
    key = _event_or_404(request, event_id).pk
    return _REPLAYED[replay_event(event_id=key, actor=request.actor)]


@require_POST
@_changes
def compare(request: DeskRequest, event_id: int) -> str:
    """Dismiss a webhook that contradicts its message, and ask MultiMail for the
    message's status.
    """
    _compare(_event_or_404(request, event_id), request.actor)
    return "Checking the message with MultiMail. The webhook was dismissed."


@require_POST
@_changes
def dismiss(request: DeskRequest, event_id: int) -> str:
    """Dismiss a stored webhook without applying it."""
    dismiss_event(event_id=_event_or_404(request, event_id).pk, actor=request.actor)
    return "The webhook was dismissed. It stays stored, and this is logged."
