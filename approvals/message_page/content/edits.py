"""What the page says about an edit: of this message into another, or of another into this one."""

from typing import Any

from approvals.desk_messages import latest_decision
from approvals.message_page.content.differences import edit_that_made
from approvals.models import Replacement
from mirror.models import Message
from mirror.states import DecisionState, MessageState, Outcome

_UNDER_WAY = (DecisionState.RECORDED, DecisionState.CALLING, DecisionState.UNKNOWN)
_NOT_SENT = tuple(MessageState[name] for name in ("HELD", "SCHEDULED", "REJECTED", "CANCELLED", "FAILED", "GONE"))


def edits_context(message: Message, *, was_edited: bool, is_edited: bool) -> dict[str, Any]:
    """Return the newest edit of this message, and the one that it was made by; without either, nothing is read."""
    context: dict[str, Any] = {"edit_to": None, "edit_from": None}
    edits = Replacement.objects.filter(message=message).order_by("-pk")
    if was_edited and (newest := edits.select_related("person").first()) is not None:
        is_free = edits.free().filter(pk=newest.pk).exists()
        # What changed since is rejected by whoever has read it, as any message.
        context["edit_to"] = newest
        context["may_finish"] = is_free and newest.revision_id == message.revision_id
    if is_edited and (made := edit_that_made(message)) is not None:
        decision = latest_decision(made.message)
        is_under_way = decision is not None and decision.state in _UNDER_WAY
        outcome = decision.outcome if decision is not None else ""
        has_left = made.message.state not in _NOT_SENT
        context |= {
            "edit_from": made,
            "may_finish_first": made.revision_id == made.message.revision_id,
            "first_is_held": made.message.state == MessageState.HELD and not is_under_way,
            "first_leaves": has_left or (is_under_way and outcome == Outcome.APPROVE),
        }
    return context
