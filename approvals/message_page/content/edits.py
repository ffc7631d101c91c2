"""What the page says about an edit: of this message into another, or of another into this one."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from approvals.desk_messages import latest_decision
from approvals.message_page.content.differences import edit_that_made
from approvals.models import Replacement
from common.postgres.statements import ANY, ValueQuery, first_of
from mirror.models import Message
from mirror.states import DecisionState, MessageState, Outcome

_UNDER_WAY = (DecisionState.RECORDED, DecisionState.CALLING, DecisionState.UNKNOWN)
_NOT_SENT = tuple(MessageState[name] for name in ("HELD", "SCHEDULED", "REJECTED", "CANCELLED", "FAILED", "GONE"))


def edits_part(message: Message) -> ValueQuery:
    """Return the query for the newest edit of this message into another one."""
    return _edits_part().with_values({ANY: message.pk})


@cache
def _edits_part() -> ValueQuery:
    return first_of(Replacement.objects.filter(message=ANY).order_by("-pk").values_list("pk"))


def edits_context(message: Message, facts: Mapping[str, Any], *, is_edited: bool) -> dict[str, Any]:
    """Return the newest edit of this message, and the one that it was made by; without either, no statement is made.

    `facts` are the values of `page_parts`.
    """
    context: dict[str, Any] = {"edit_to": None, "edit_from": None}
    if facts["edit_to"]:
        row = Replacement.objects.select_related("person").get(pk=facts["edit_to"])
        is_free = row.lease_until is None or row.lease_until < facts["clock"]
        # What changed since is rejected by whoever has read it, as any message.
        context |= {"edit_to": row, "may_finish": is_free and row.revision_id == message.revision_id}
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
