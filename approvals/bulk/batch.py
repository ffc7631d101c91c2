"""The commands of bulk review: decide the messages that were ticked on one sheet, undo
them, and remember the outcomes in the session for the page that shows them.

Each message is decided separately, in the version that the sheet showed: a failure is
reported with its reason and does not stop the others. A message counts as read if the
ledger says that this version was open on its own page, or wholly on screen on a sheet;
loading a sheet alone does not count. A message with high risk, or with newer messages
in its thread, cannot be approved on a sheet, because `give_verdict` requires answers
that only the message's own page collects; nor can one that may be seen differently.
"""

import logging
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import DatabaseError, transaction

from approvals.bulk.sheet import OnSheet, Sheet
from approvals.decisions.decide import give_verdict, note_refusal
from approvals.decisions.ruling import is_reviewer
from approvals.decisions.shown import (
    OPENED,
    SERVED,
    has_links,
    links_key,
    note_opened_part,
)
from approvals.decisions.status import Status, available_actions, shown_status
from approvals.decisions.withdraw import undo_decision
from approvals.desk_messages import desk_messages, latest_decision, our_decisions
from approvals.errors import AlreadyDecided, InvalidInput, VerdictNotAllowed
from approvals.models import Decision, Verdict
from audit.recording import record
from audit.trail import recorded_versions
from common.actors import Actor, Role
from common.identifiers import uuid7
from common.postgres import clock
from mirror.errors import DeskError
from mirror.models import Message
from mirror.recording import record_about
from mirror.states import LIVE_DECISIONS, DecisionState, Outcome

# The undo window of a batch is longer by this much per message, because the person has
# that many outcomes to read.
READING = timedelta(milliseconds=100)
# Undoing a whole batch takes less time than this, also on a busy machine.
UNDOING = timedelta(seconds=30)
NOT_SAVED = "The desk could not save this decision. Open the message to see its status."

log = logging.getLogger(__name__)


def read_on(items: Sequence[OnSheet], actor: Actor) -> frozenset[UUID]:
    """Return the ids of those messages that the actor has read in the version that is
    on the sheet.
    """
    opened = recorded_versions(
        messages=[item.message for item in items], actions=[OPENED], actor_id=actor.id
    )
    return frozenset(
        item.message
        for item in items
        if (OPENED, item.message, item.fingerprint) in opened
    )


@transaction.atomic
def note_loaded(messages: Sequence[Message], *, sheet: Sheet, actor: Actor) -> None:
    """Record that the actor's browser loaded these messages, once for each person and
    version.

    Loaded does not mean read: the sheet may never have been looked at.
    """
    loaded = recorded_versions(
        messages=[message.public_id for message in messages],
        actions=[SERVED],
        actor_id=actor.id,
    )
    for message in messages:
        version = message.fingerprint
        if (SERVED, message.public_id, version) not in loaded:
            record_about(
                SERVED,
                message,
                actor,
                fingerprint=version,
                details={"sheet": sheet.id},
            )


@transaction.atomic
def note_read(sheet: Sheet, shown: Sequence[OnSheet], *, actor: Actor) -> None:
    """Record that the actor has read these messages of the sheet, and seen their links;
    once for each version.

    A message of which only the differences were shown counts as read only if the
    message that was shown whole for it was read too.
    """
    already_read = read_on(sheet.items, actor)
    whole = already_read | {item.message for item in shown if item.like is None}
    new = {
        item.message: item
        for item in shown
        if item.message not in already_read
        and (item.like is None or item.like in whole)
    }
    messages = desk_messages().visible_to(actor).select_related("revision")
    for message in messages.filter(public_id__in=new).order_by("pk"):
        item = new[message.public_id]
        record_about(
            OPENED,
            message,
            actor,
            fingerprint=item.fingerprint,
            details={"sheet": sheet.id, "like": str(item.like or "")},
        )
        if (
            message.revision
            and message.revision.fingerprint == item.fingerprint
            and has_links(message.revision.content)
        ):
            note_opened_part(message, links_key(message), actor)


def approvable(
    ticked: Sequence[OnSheet],
    *,
    read: Collection[UUID],
    counted: Collection[str],
    typed: int | None,
) -> Sequence[OnSheet]:
    """Return the ticked messages to approve.

    These are the messages that are `read` according to the ledger and that the page
    `counted` as read when the button was pressed, by the values of their tick boxes. If
    a number was `typed`, these are all of them, if that is the number of unread ones.
    Messages that can only be approved on their own page (`why_alone`) are returned too,
    so that `decide_batch` refuses each with its reason. Raises InvalidInput if the
    number is wrong, or if some could be approved here and none of them counts as read.
    """
    here = [item for item in ticked if not item.why_alone]
    unread = sum(item.message not in read for item in here)
    if typed is not None:
        if typed == unread:
            return ticked
        unread_count = (
            f"{unread} of the ticked messages {'is' if unread == 1 else 'are'} unread"
        )
        error = f"{unread_count}. Type that number to approve them too."
        if typed:
            error = f"you typed {typed}, and {unread_count}."
        raise InvalidInput(f"Nothing was approved: {error}")
    chosen = [
        item
        for item in ticked
        if item.why_alone or (item.message in read and item.pair in counted)
    ]
    if here and all(item.why_alone for item in chosen):
        raise InvalidInput(
            "None of the ticked messages counts as read, so nothing was approved. Read them here or open them, or "
            "type how many are unread."
        )
    return chosen


@dataclass(frozen=True)
class ItemResult:
    """What became of one message of a batch: the key of its decision, or a sentence
    about it.

    `kind` is "decided", "counted" (the approval was saved, and the message needs more
    approvals: the sentence says how many are given) or "failed" (the sentence says
    why).
    """

    message: str
    kind: str
    sentence: str
    decision: int | None


def decide_batch(
    *,
    sheet: Sheet,
    ticked: Sequence[OnSheet],
    actor: Actor,
    outcome: str,
    reason: str,
    unread: int = 0,
) -> list[ItemResult]:
    """Give the same verdict on each message that was ticked on a sheet, each in a
    transaction of its own.

    `unread` is how many of the messages the actor has not read; it goes into the
    ledger. Returns one result per message, in the sheet's order.
    """
    visible = desk_messages().visible_to(actor).for_page()
    ids = [item.message for item in ticked]
    message_by_id = visible.in_bulk(ids, field_name="public_id")
    results = []
    pressed_at = clock()
    for item in ticked:
        message = message_by_id.get(item.message)
        kind = "failed"
        sentence = ""
        decision = None
        try:
            if outcome == Outcome.APPROVE and item.why_alone:
                raise VerdictNotAllowed(item.why_alone)
            result = give_verdict(
                message=item.message,
                actor=actor,
                outcome=outcome,
                fingerprint=item.fingerprint,
                reason=reason,
                sheet=sheet.id,
                longer=READING * len(ticked),
                pressed_at=pressed_at,
            )
            decision = result.decision
            if decision is None:
                kind = "counted"
                sentence = f"{result.progress} approvals are given."
        except DeskError as error:
            decision = _own_decision(error, item, actor, outcome, reason)
            if decision is None:
                sentence = error.sentence
                if message is not None:
                    note_refusal(
                        message,
                        actor=actor,
                        outcome=outcome,
                        sentence=sentence,
                        reason=reason,
                    )
        except DatabaseError:
            log.exception(
                "a verdict of a sheet could not be written",
                extra={"message_id": str(item.message)},
            )
            sentence = NOT_SAVED
        if decision is not None:
            kind = "decided"
        key = decision.pk if decision else None
        results.append(ItemResult(str(item.message), kind, sentence, key))
    done = sum(item.kind != "failed" for item in results)
    details = {
        "sheet": sheet.id,
        "outcome": outcome,
        "reason": reason,
        "on_sheet": str(len(sheet.items)),
        "decided": str(done),
        "not_decided": str(len(results) - done),
        "unread": str(unread),
    }
    with transaction.atomic():
        record("bulk.decided", actor, details=details)
    return results


def _own_decision(
    error: DeskError, item: OnSheet, actor: Actor, outcome: str, reason: str
) -> Decision | None:
    """Return the decision that made this verdict fail, if the same person gave it with
    the same outcome, reason and version, as after a double click; otherwise None.
    """
    first = error.decision if isinstance(error, AlreadyDecided) else None
    # It may be carried out by now, but was live when it made the verdict fail.
    if first is None or first.state not in LIVE_DECISIONS:
        return None
    return Decision.objects.filter(
        pk=first.pk,
        given_by=actor.person_id,
        outcome=outcome,
        reason=reason,
        revision__fingerprint=item.fingerprint,
    ).first()


def undo_batch(*, messages: Sequence[UUID], actor: Actor) -> int:
    """Undo the decisions on these messages that have not been sent to MultiMail yet,
    each separately. Return how many were undone.

    Those that would be sent soon are postponed first, so that none is sent while the
    others are undone.
    """
    ours = Message.objects.visible_to(actor.acting_as(Role.REVIEWER)).filter(
        public_id__in=messages
    )
    Decision.objects.filter(message__in=ours).postpone(UNDOING)
    undone = 0
    for message in messages:
        # A decision that is too late to be undone stays.
        with suppress(DeskError):
            undo_decision(message=message, actor=actor)
            undone += 1
    return undone


# The session's key for its batches.
_KEY = "bulk"
# How many batches a session keeps; older ones are in the history.
KEPT = 3


@dataclass(frozen=True)
class Batch:
    """One posted sheet and its results, as the person's session stores it for the page
    of outcomes.

    `typed` are the form's fields by name, and `query` is the query string of the queue
    to go back to.
    """

    sheet: str
    outcome: str
    typed: Mapping[str, str]
    query: str
    items: Sequence[ItemResult]
    # The ids of messages that were ticked but not approved, because they did not count
    # as read.
    unread: Sequence[str]
    id: str = field(default_factory=lambda: uuid7().hex)


@dataclass(frozen=True)
class Line:
    """One message of a batch as it is now. `kind` and `sentence` are those of its
    result, except that `kind` is "undone" if the decision was undone since, and
    "failed" if it was refused or the approval taken back since. `is_moving` says that
    its status will soon change by itself.
    """

    message: Message
    decision: Decision | None
    kind: str
    sentence: str
    can_undo: bool
    is_moving: bool

    @property
    def status(self) -> Status:
        return shown_status(self.message)


def store_batch(session: MutableMapping[str, Any], batch: Batch) -> None:
    """Store a batch for the page that shows it."""
    session[_KEY] = [*session.get(_KEY, []), asdict(batch)][-KEPT:]


def stored_batches(session: MutableMapping[str, Any]) -> dict[str, Batch]:
    """Return the batches of this session by their ids, the oldest first."""
    return {
        fields["id"]: Batch(
            **{**fields, "items": [ItemResult(**item) for item in fields["items"]]}
        )
        for fields in session.get(_KEY, [])
    }


def find_repeat(
    session: MutableMapping[str, Any],
    sheet: Sheet,
    ticked: Sequence[OnSheet],
    *,
    outcome: str,
    actor: Actor,
) -> Batch | None:
    """Return the batch of the same sheet that already decided all these messages with
    this outcome, as after a double click; None if there is none.
    """
    wanted = {item.message for item in ticked}
    for batch in stored_batches(session).values():
        if (batch.sheet, batch.outcome) == (sheet.id, outcome):
            decided = {
                line.message.public_id
                for line in _lines(batch, actor)
                if line.kind not in ("failed", "undone")
            }
            if wanted <= decided:
                return batch
    return None


def done_context(batch: Batch, actor: Actor, now: datetime) -> dict[str, Any]:
    """Return the template context of the page of outcomes."""
    lines: dict[str, list[Line]] = {
        kind: [] for kind in ("decided", "undone", "counted", "failed")
    }
    for line in _lines(batch, actor):
        lines[line.kind].append(line)
    waiting = [one for one in lines["decided"] if one.can_undo]
    due = min((one.decision.due_at for one in waiting if one.decision), default=now)
    seconds = max(0, round((due - now).total_seconds()))
    return {
        **lines,
        "batch": batch,
        # How many messages of the batch this person can no longer see.
        "unseen": len(batch.items) - sum(map(len, lines.values())),
        "waiting": waiting,
        "seconds": seconds,
        "is_moving": any(one.is_moving for one in lines["decided"]),
        "verb": Decision(outcome=batch.outcome).result,
        "queue_query": batch.query,
        "pause": seconds + 2 if waiting else 3,
    }


def may_undo(batch: Batch, actor: Actor) -> list[UUID]:
    """Return the messages of a batch whose decisions can still be undone."""
    return [one.message.public_id for one in _lines(batch, actor) if one.can_undo]


def _lines(batch: Batch, actor: Actor) -> list[Line]:
    # Messages that this person may no longer see are left out.
    visible = desk_messages().visible_to(actor).for_rows()
    ids = [result.message for result in batch.items]
    message_by_id = visible.in_bulk(ids, field_name="public_id")
    own = Verdict.objects.filter(
        person=actor.person_id, live=True, message__in=message_by_id.values()
    )
    counting = set(own.values_list("message", flat=True))
    lines = []
    for result in batch.items:
        message = message_by_id.get(UUID(result.message))
        if message is None:
            continue
        kind = result.kind
        sentence = result.sentence
        decision = next(
            (item for item in our_decisions(message) if item.pk == result.decision),
            None,
        )
        if decision is not None and decision.state == DecisionState.UNDONE:
            kind = "undone"
        elif decision is not None and decision.state in (
            DecisionState.REFUSED,
            DecisionState.SUPERSEDED,
        ):
            kind = "failed"
            sentence = decision.explanation
        elif kind == "counted" and message.is_held and message.pk not in counting:
            kind = "failed"
            sentence = "Your approval does not count any more."
        newest = latest_decision(message)
        actions = available_actions(
            message, newest, is_reviewer=is_reviewer(actor, message)
        )
        can_undo = actions.can_undo and newest == decision
        lines.append(
            Line(message, decision, kind, sentence, can_undo, actions.is_moving)
        )
    return lines
