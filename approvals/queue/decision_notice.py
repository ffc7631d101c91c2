"""The notice of what a person has just decided, shown above what they read next, with
Undo.

The decision's state is read each time, so that an old page or link is correct too.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from approvals.decisions.later import time_in_words
from approvals.decisions.ruling import is_reviewer, stop_of
from approvals.decisions.status import (
    AvailableActions,
    available_actions,
    shown_status,
)
from approvals.desk_messages import latest_decision, shown_message
from approvals.models import Decision
from common.actors import Actor
from mirror.models import Message
from mirror.states import DecisionState, Outcome

# No notice is shown for an older decision, whatever the address asks for.
NEWS_LASTS = timedelta(minutes=10)
# The kinds of actions of decisions that are still to be carried out.
_TO_BE_SENT = ("leaving", "again")


def notice_context(actor: Actor, public_id: UUID | None) -> dict[str, Any]:
    """Return the notice's context: this person's decision, how long it can be undone,
    and what it waits for otherwise. It is empty where there is none, or an old or
    undone one.
    """
    if public_id is None:
        return {}
    message = shown_message(actor, public_id)
    if message is None:
        return {}
    decision = latest_decision(message)
    if (
        decision is None
        or str(decision.given_by_id) != actor.id
        or timezone.now() - decision.recorded_at >= NEWS_LASTS
        or decision.state == DecisionState.UNDONE
    ):
        return _approval_context(message, actor)
    actions = available_actions(
        message, decision, is_reviewer=is_reviewer(actor, message), may_look=False
    )
    seconds, waits = delay_of(message, decision, actions, now=timezone.now())
    stop = stop_of(message) if actions.kind in _TO_BE_SENT else None
    if stop:
        seconds = 0
        waits = (
            f"It waits until the kill switch, pulled by {stop.pulled_by}, is released."
        )
    status = shown_status(message)
    word = decision.result
    verb = "Takes effect"
    # When the undo time is over, a message is sent; everything else takes effect.
    if decision.outcome == Outcome.APPROVE:
        verb = "Goes to the agent" if message.is_inbound else "Sends"
        word = "Released" if message.is_inbound else word
    is_under_way = actions.kind in ("leaving", "calling", "again")
    if is_under_way:
        tone = "amber" if waits else "green"
    else:
        is_void = decision.state in (DecisionState.REFUSED, DecisionState.SUPERSEDED)
        tone = "amber" if is_void else status.tone
    just = {
        "message": message,
        "decision": decision,
        "actions": actions,
        "status": status,
        "seconds": seconds,
        "waits": waits,
        "word": word,
        "verb": verb,
        "is_under_way": is_under_way,
        "tone": tone,
    }
    return {"just": just}


def _approval_context(message: Message, actor: Actor) -> dict[str, Any]:
    """Return the context of the notice of an approval that waits for others; empty
    where there is none.
    """
    if actor.kind != "person" or not message.is_held:
        return {}
    own = message.verdicts.filter(
        person=int(actor.id), awaits_others=True, revision=message.revision_id
    ).first()
    if own is None or timezone.now() - own.given_at >= NEWS_LASTS:
        return {}
    # As "1 of 2".
    return {
        "just_approved": {
            "message": message,
            "approvals": own.seen.get("approvals") or "",
        }
    }


def delay_of(
    message: Message,
    decision: Decision | None,
    actions: AvailableActions,
    *,
    now: datetime,
) -> tuple[int, str]:
    """Return in how many seconds a decision is carried out, and what it waits for as a
    sentence.

    That sentence says nothing of its undo window, and is empty where nothing else keeps
    it.
    """
    if decision is not None and actions.kind == "later":
        return 0, f"Sends {time_in_words(decision.later_at, decision.later_zone)}."
    if decision is None or actions.kind not in _TO_BE_SENT:
        return 0, ""
    connection = message.connection
    waits = ""
    if connection.paused_at:
        waits = (
            f"It waits until {connection.name} works again: {connection.paused_because}"
        )
    elif connection.wait_until and connection.wait_until > now:
        waits = f"MultiMail asked this desk to wait until {connection.wait_until:%H:%M:%S} UTC."
    elif decision.attempt and decision.explanation:
        at = f" at {decision.due_at:%H:%M:%S} UTC" if decision.due_at > now else ""
        waits = f"The desk tries again{at}. {decision.explanation}"
    return max(0, round((decision.due_at - now).total_seconds())), waits
