"""Decides many messages at once, each separately: a failure is named and does not stop the others.

Only messages that were shown and ticked on one sheet are decided, in the version shown. A message with high risk, or
with newer messages in its thread, cannot be approved here: `give_verdict` requires answers that only its page collects.
"""

import logging
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import DatabaseError, transaction

from approvals.bulk.sheet import MAX_ITEMS, OnSheet, Sheet
from approvals.decisions.decide import BatchInfo, give_verdict, note_refusal, undo_decision
from approvals.decisions.ruling import is_reviewer
from approvals.decisions.status import AvailableActions, Status, available_actions, shown_status
from approvals.desk_messages import desk_messages, latest_decision, our_decisions
from approvals.errors import AlreadyDecided, VerdictNotAllowed
from approvals.models import Decision
from audit.recording import record
from common.actors import Actor, Role
from common.identifiers import uuid7
from mirror.errors import DeskError
from mirror.models import Message
from mirror.states import LIVE_DECISIONS, DecisionState, Outcome

# Each message of a batch lengthens the undo window: somebody who decides fifty has fifty outcomes to read.
READING = timedelta(milliseconds=100)
# Undoing a whole batch takes less than this, also on a busy machine.
UNDOING = timedelta(seconds=30)

_NOT_SAVED = "The desk could not save this decision. Open the message to see its status."

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ItemResult:
    """The result for one message: its decision or, without one, a sentence that says why.

    `counts`: an approval was given, and others have to approve before it is decided. `was_practice`: it was a practice
    message, which is over now.
    """

    message: UUID
    decision: Decision | None = None
    sentence: str = ""
    counts: bool = False
    was_practice: bool = False


def decide_batch(
    *, sheet: Sheet, ticked: Sequence[OnSheet], actor: Actor, outcome: str, reason: str, unread: int = 0
) -> list[ItemResult]:
    """Give the same verdict on each message that was ticked on a sheet, each in a transaction of its own.

    `unread` is how many of them the actor has not read, for the ledger. Returns one result per message, in the sheet's
    order. Raises VerdictNotAllowed for more than a sheet holds.
    """
    if len(ticked) > MAX_ITEMS:
        raise VerdictNotAllowed(f"At most {MAX_ITEMS} messages are decided together.")
    batch = BatchInfo(sheet.id, extra=READING * len(ticked))
    visible = desk_messages().visible_to(actor).for_list().filter(public_id__in=[one.message for one in ticked])
    known = {message.public_id: message for message in visible}
    ended = []
    for one in ticked:
        message = known.get(one.message)
        try:
            if outcome == Outcome.APPROVE and one.why_alone:
                raise VerdictNotAllowed(one.why_alone)
            result = give_verdict(
                message=one.message,
                actor=actor,
                outcome=outcome,
                fingerprint=one.fingerprint,
                reason=reason,
                batch=batch,
            )
            if result.decision is not None:
                ended.append(ItemResult(one.message, result.decision))
            elif result.lesson:
                ended.append(ItemResult(one.message, sentence=result.lesson, was_practice=True))
            else:
                sentence = f"{result.progress} approvals are given."
                ended.append(ItemResult(one.message, sentence=sentence, counts=True))
        except DeskError as error:
            if own := _own_decision(error, one, actor, outcome, reason):
                ended.append(ItemResult(one.message, own))
                continue
            if message is not None:
                note_refusal(message, actor=actor, outcome=outcome, sentence=error.sentence)
            ended.append(ItemResult(one.message, sentence=error.sentence))
        except DatabaseError:
            log.exception("a verdict of a sheet could not be written", extra={"message_id": str(one.message)})
            ended.append(ItemResult(one.message, sentence=_NOT_SAVED))
    done = sum(one.decision is not None or one.counts or one.was_practice for one in ended)
    details = {
        "sheet": sheet.id,
        "outcome": outcome,
        "reason": reason,
        "on_sheet": str(len(sheet.items)),
        "decided": str(done),
        "not_decided": str(len(ended) - done),
        "unread": str(unread),
    }
    with transaction.atomic():
        record("bulk.decided", actor=actor, details=details)
    return ended


def _own_decision(error: DeskError, one: OnSheet, actor: Actor, outcome: str, reason: str) -> Decision | None:
    """Return the decision that came first where it is the same one by the same person, as after a double press."""
    first = error.decision if isinstance(error, AlreadyDecided) else None
    if not isinstance(first, Decision) or first.state not in LIVE_DECISIONS:
        return None
    said = (str(first.given_by_id), first.outcome, first.reason, first.revision.fingerprint)
    return first if said == (actor.id, outcome, reason, one.fingerprint) else None


def undo_batch(*, messages: Iterable[UUID], actor: Actor) -> list[ItemResult]:
    """Undo those of these decisions that have not left, each separately. Those that are too late are named.

    All of them are postponed first, so that the last one is not sent while the others are undone.
    """
    wanted = list(messages)
    ours = Message.objects.visible_to(actor.acting_as(Role.REVIEWER)).filter(public_id__in=wanted)
    Decision.objects.on(ours).postpone(UNDOING)
    ended = []
    for message in wanted:
        try:
            ended.append(ItemResult(message, undo_decision(message=message, actor=actor)))
        except DeskError as error:
            ended.append(ItemResult(message, sentence=error.sentence))
    return ended


_KEY = "bulk"
# Older batches are found in the history.
KEPT = 3


@dataclass(frozen=True)
class Batch:
    """The result of a batch: of each message its decision's key, its sentence, whether it counts or was practice."""

    id: str
    outcome: str
    typed: Mapping[str, str]
    query: str
    items: Sequence[tuple[UUID, int | None, str, bool, bool]]
    # Those that were ticked and not approved, because nobody had read them.
    unread: Sequence[UUID]


@dataclass(frozen=True)
class Line:
    """One message of the batch as it stands now."""

    message: Message
    decision: Decision | None
    sentence: str
    status: Status
    actions: AvailableActions
    counts: bool
    was_practice: bool

    @property
    def is_in_force(self) -> bool:
        return self.decision is not None and self.decision.state != DecisionState.UNDONE

    @property
    def can_undo(self) -> bool:
        return self.decision is not None and self.actions.can_undo and latest_decision(self.message) == self.decision


def store_batch(
    session: MutableMapping[str, Any],
    sheet: Sheet,
    ended: Sequence[ItemResult],
    *,
    outcome: str,
    typed: Mapping[str, str],
    query: str,
    unread: Iterable[UUID],
) -> str:
    """Store the result for the page that shows it; return the batch's id."""
    batch = uuid7().hex
    newest = {
        "id": batch,
        "sheet": sheet.id,
        "outcome": outcome,
        "typed": dict(typed),
        "query": query,
        "items": [
            [one.message.hex, one.decision and one.decision.pk, one.sentence, one.counts, one.was_practice]
            for one in ended
        ],
        "unread": [one.hex for one in unread],
    }
    session[_KEY] = [*session.get(_KEY, []), newest][-KEPT:]
    return batch


def find_repeat(
    session: MutableMapping[str, Any], sheet: Sheet, ticked: Sequence[OnSheet], *, outcome: str, actor: Actor
) -> str:
    """Return the batch that already decided exactly this, as after a double click; empty where none has."""
    asked = {one.message for one in ticked}
    for stored in session.get(_KEY, []):
        batch = stored_batch(session, stored["id"])
        if batch is None or stored["sheet"] != sheet.id or batch.outcome != outcome:
            continue
        if asked <= {
            one.message.public_id for one in _lines(batch, actor) if one.is_in_force or one.counts or one.was_practice
        }:
            return batch.id
    return ""


def stored_batch(session: MutableMapping[str, Any], batch: str | None) -> Batch | None:
    """Return a stored batch; None where this session has none with that id (any more)."""
    for stored in session.get(_KEY, []):
        if stored["id"] == batch:
            items = [(UUID(key), *result) for key, *result in stored["items"]]
            unread = [UUID(key) for key in stored["unread"]]
            return Batch(stored["id"], stored["outcome"], stored["typed"], stored["query"], items, unread)
    return None


def done_context(batch: Batch, actor: Actor, *, now: datetime) -> dict[str, Any]:
    """Return what the page of outcomes shows."""
    lines = _lines(batch, actor)
    done = [one for one in lines if one.is_in_force]
    waiting = [one for one in done if one.can_undo]
    due = min((one.decision.due_at for one in waiting if one.decision), default=now)
    seconds = max(0, round((due - now).total_seconds()))
    return {
        "batch": batch,
        "done": done,
        "undone": [one for one in lines if one.decision and not one.is_in_force],
        "counted": [one for one in lines if one.counts],
        "practice": [one for one in lines if one.was_practice],
        "failed": [one for one in lines if one.decision is None and not one.counts and not one.was_practice],
        # Decided, and no longer visible to this person.
        "unseen": len(batch.items) - len(lines),
        "waiting": waiting,
        "seconds": seconds,
        "unread": batch.unread,
        "is_moving": any(one.actions.is_moving for one in done),
        "is_approval": batch.outcome == Outcome.APPROVE,
        "verb": {"approve": "Approved", "reject": "Rejected", "send_back": "Changes requested"}[batch.outcome],
        "queue_query": batch.query,
        "pause": seconds + 2 if waiting else 3,
    }


def may_undo(batch: Batch, actor: Actor) -> list[UUID]:
    """Return the messages of a batch whose decisions can still be undone."""
    return [one.message.public_id for one in _lines(batch, actor) if one.can_undo]


def _lines(batch: Batch, actor: Actor) -> list[Line]:
    found = desk_messages().visible_to(actor).for_rows().filter(public_id__in=[item[0] for item in batch.items])
    known = {message.public_id: message for message in found}
    lines = []
    for key, number, sentence, counts, was_practice in batch.items:
        if key not in known:
            continue
        message = known[key]
        decision = next((one for one in our_decisions(message) if one.pk == number), None)
        may_review = is_reviewer(actor, message)
        actions = available_actions(message, latest_decision(message), is_reviewer=may_review, may_look=False)
        status = shown_status(message)
        lines.append(Line(message, decision, sentence, status, actions, counts, was_practice))
    return lines
