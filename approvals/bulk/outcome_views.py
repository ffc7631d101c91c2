"""What became of messages that were decided together: kept in the session for a while, looked up anew each time.

The session says which messages and why some were not decided; where each decision stands, the database says.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from approvals.bulk.bulk import Ended
from approvals.bulk.sheets import OnSheet, Sheet
from approvals.decisions.offered_acts import Standing, shown_status, standing_of
from approvals.decisions.ruling import is_reviewer
from approvals.decisions.status import Status
from approvals.models import Decision
from approvals.querysets.messages import desk_messages, read_decisions
from common.identifiers import uuid7
from mirror.models import Message
from mirror.states import DecisionState, Outcome
from people.actors import Actor

_KEY = "bulk"
# Older ones stand in the history.
KEPT = 3


@dataclass(frozen=True)
class Batch:
    """What was decided together: each message with its decision's key, or with the sentence that says why not."""

    id: str
    outcome: str
    typed: Mapping[str, str]
    query: str
    items: Sequence[tuple[UUID, int, str]]


@dataclass(frozen=True)
class Line:
    """One message of the batch as it stands now."""

    message: Message
    decision: Decision | None
    sentence: str
    status: Status
    standing: Standing

    @property
    def can_undo(self) -> bool:
        return self.decision is not None and self.standing.can_undo and self.message.latest_decision == self.decision


def keep_batch(
    session: MutableMapping[str, Any],
    sheet: Sheet,
    ended: Sequence[Ended],
    *,
    outcome: str,
    typed: Mapping[str, str],
    query: str,
) -> str:
    """Keep what was decided for the page that tells of it; return the batch's id."""
    items = [[one.message.hex, one.decision.pk if one.decision else 0, one.sentence] for one in ended]
    batch = uuid7().hex
    newest = {"id": batch, "sheet": sheet.id, "outcome": outcome, "typed": dict(typed), "query": query, "items": items}
    session[_KEY] = [*session.get(_KEY, []), newest][-KEPT:]
    return batch


def repeated(
    session: MutableMapping[str, Any], sheet: Sheet, ticked: Sequence[OnSheet], *, outcome: str, actor: Actor
) -> str:
    """Return the batch that has decided just this already, as after a second press; empty where none has."""
    asked = {one.message for one in ticked}
    for kept in session.get(_KEY, []):
        if kept["sheet"] == sheet.id and kept["outcome"] == outcome:
            batch = batch_kept(session, kept["id"])
            lines = _lines(batch, actor) if batch else []
            in_force = [one for one in lines if one.decision and one.decision.state != DecisionState.UNDONE]
            if asked <= {one.message.public_id for one in in_force}:
                return str(kept["id"])
    return ""


def batch_kept(session: MutableMapping[str, Any], batch: str) -> Batch | None:
    """Return what was kept of a batch; None for one of somebody else's, or from long ago."""
    for kept in session.get(_KEY, []):
        if batch and kept["id"] == batch:
            items = [(UUID(key), decision, sentence) for key, decision, sentence in kept["items"]]
            return Batch(batch, kept["outcome"], kept["typed"], kept["query"], items)
    return None


def done_context(batch: Batch, actor: Actor, *, now: datetime) -> dict[str, Any]:
    """Return what the page of outcomes shows."""
    lines = _lines(batch, actor)
    decided = [one for one in lines if one.decision is not None]
    undone = [one for one in decided if one.decision and one.decision.state == DecisionState.UNDONE]
    done = [one for one in decided if one not in undone]
    failed = [one for one in lines if one.decision is None]
    waiting = [one for one in done if one.can_undo]
    due = min((one.decision.due_at for one in waiting if one.decision), default=now)
    return {
        "batch": batch,
        "done": done,
        "undone": undone,
        "failed": failed,
        # Decided, and out of this person's sight by now.
        "unseen": len(batch.items) - len(lines),
        "waiting": waiting,
        "seconds": max(0, round((due - now).total_seconds())),
        "is_moving": any(one.standing.is_moving for one in done),
        "is_approval": batch.outcome == Outcome.APPROVE,
        "verb": {"approve": "Approved", "reject": "Rejected", "send_back": "Changes requested"}[batch.outcome],
        "queue_query": batch.query,
        "pause": max(2, round(max(due - now, timedelta(0)).total_seconds()) + 2) if waiting else 3,
    }


def may_undo(batch: Batch, actor: Actor) -> list[UUID]:
    """Return the messages of a batch whose decisions of then have not left."""
    return [one.message.public_id for one in _lines(batch, actor) if one.can_undo]


def _lines(batch: Batch, actor: Actor) -> list[Line]:
    keys = [key for key, _, _ in batch.items]
    found = list(desk_messages().visible_to(actor).for_rows().filter(public_id__in=keys))
    read_decisions(found)
    known = {message.public_id: message for message in found}
    return [_line(known[key], decision, told, actor) for key, decision, told in batch.items if key in known]


def _line(message: Message, decision: int, sentence: str, actor: Actor) -> Line:
    ours = next((one for one in message.decisions.all() if one.pk == decision), None)
    standing = standing_of(message, message.latest_decision, is_reviewer=is_reviewer(actor, message), may_look=False)
    return Line(message, ours, sentence, shown_status(message), standing)
