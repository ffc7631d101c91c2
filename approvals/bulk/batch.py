"""Decides many messages at once, each separately: a failure is named and does not stop
the others.

Only messages that were shown and ticked on one sheet are decided, in the version shown.
One counts as read, by the ledger, when its version was open on its own page, or on
screen on a sheet with all of it in view; that a sheet was loaded counts for nothing.
A message with high risk, or with newer messages in its thread, cannot be approved here:
`give_verdict` requires answers that only its page collects.
"""

import logging
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import DatabaseError, transaction

from approvals.bulk.sheet import MAX_ITEMS, OnSheet, Sheet
from approvals.decisions.decide import give_verdict, note_refusal
from approvals.decisions.ruling import is_reviewer
from approvals.decisions.shown import OPENED, SERVED, has_links, links_key
from approvals.decisions.status import (
    Status,
    available_actions,
    shown_status,
)
from approvals.decisions.withdraw import undo_decision
from approvals.desk_messages import desk_messages, latest_decision, our_decisions
from approvals.errors import AlreadyDecided, InvalidInput, VerdictNotAllowed
from approvals.models import Decision, OpenedPart
from audit.recording import record
from audit.trail import recorded_versions
from common.actors import Actor, Role
from common.identifiers import uuid7
from mirror.errors import DeskError
from mirror.models import Message
from mirror.recording import record_about
from mirror.states import LIVE_DECISIONS, DecisionState, Outcome

# Each message of a batch lengthens the undo window: somebody who decides fifty has
# fifty outcomes to read.
READING = timedelta(milliseconds=100)
# Undoing a whole batch takes less than this, also on a busy machine.
UNDOING = timedelta(seconds=30)

_NOT_SAVED = (
    "The desk could not save this decision. Open the message to see its status."
)

log = logging.getLogger(__name__)


def read_on(items: Sequence[OnSheet], *, actor: Actor) -> frozenset[UUID]:
    """Return which of these messages the actor has read, each in the version that
    stands on the sheet.
    """
    opened = recorded_versions(
        messages=[one.message for one in items], actions=[OPENED], actor_id=actor.id
    )
    return frozenset(
        one.message for one in items if (OPENED, one.message, one.fingerprint) in opened
    )


@transaction.atomic
def note_loaded(
    messages: Sequence[Message], *, sheet: Sheet, actor: Actor
) -> frozenset[UUID]:
    """Record that the actor's browser loaded these messages, each once a person and
    version; return those read before.

    Nobody may have looked at the sheet yet.
    """
    known = recorded_versions(
        messages=[one.public_id for one in messages],
        actions=[SERVED, OPENED],
        actor_id=actor.id,
    )
    read = set()
    for one in messages:
        version = one.fingerprint
        if (OPENED, one.public_id, version) in known:
            read.add(one.public_id)
        elif (SERVED, one.public_id, version) not in known:
            record_about(
                SERVED,
                one,
                actor=actor,
                fingerprint=version,
                details={"sheet": sheet.id},
            )
    return frozenset(read)


@transaction.atomic
def note_read(sheet: Sheet, shown: Sequence[OnSheet], *, actor: Actor) -> None:
    """Record that these messages of the sheet were on the actor's screen, with their
    links; each once a version.

    One that stands there by its differences counts only after the message that is shown
    whole in its place was read.
    """
    known = read_on(sheet.items, actor=actor)
    whole = known | {one.message for one in shown if one.like is None}
    new = {
        one.message: one
        for one in shown
        if one.message not in known and (one.like is None or one.like in whole)
    }
    messages = (
        desk_messages()
        .visible_to(actor)
        .select_related("revision")
        .filter(public_id__in=new)
    )
    links = []
    for message in messages.order_by("pk"):
        one = new[message.public_id]
        details = {"sheet": sheet.id, "like": str(one.like or "")}
        record_about(
            OPENED, message, actor=actor, fingerprint=one.fingerprint, details=details
        )
        if (
            message.revision
            and message.revision.fingerprint == one.fingerprint
            and has_links(message.revision.content)
        ):
            links.append(
                OpenedPart(
                    message=message, person_id=int(actor.id), part=links_key(message)
                )
            )
    OpenedPart.objects.bulk_create(links, ignore_conflicts=True)


def approvable(
    ticked: Sequence[OnSheet],
    *,
    read: Collection[UUID],
    counted: Collection[UUID],
    with_unread: bool,
    typed: int,
) -> tuple[OnSheet, ...]:
    """Return the ticked messages to approve: those `read` and counted on the page, or
    all with the number of unread.

    Raises InvalidInput where none is read, or where `typed` is not how many of them
    are unread now. Messages that have to be opened by themselves are returned too: each
    is refused with its reason.
    """
    unread = sum(one.message not in read for one in ticked if not one.why_alone)
    if with_unread:
        if typed == unread:
            return tuple(ticked)
        are = f"{unread} of the ticked messages {'is' if unread == 1 else 'are'} unread"
        asked = f"{are}. Type that number to approve them too."
        if typed:
            asked = f"you typed {typed}, and {are}."
        raise InvalidInput(f"Nothing was approved: {asked}")
    chosen = tuple(
        one
        for one in ticked
        if one.why_alone or (one.message in read and one.message in counted)
    )
    if unread and all(one.why_alone for one in chosen):
        raise InvalidInput(
            "You have not read any of the ticked messages, so nothing was approved. Read them here or open them, or "
            "type how many are unread."
        )
    return chosen


@dataclass(frozen=True)
class ItemResult:
    """What became of one message: its decision's key or, without one, a sentence that
    says why.

    `kind` is decided, counted (an approval was given, and others have to approve before
    it is decided), local (only this desk had the message, and it is over) or failed.
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

    `unread` is how many of them the actor has not read, for the ledger. Returns one
    result per message, in the sheet's order. Raises VerdictNotAllowed for more than a
    sheet holds.
    """
    if len(ticked) > MAX_ITEMS:
        raise VerdictNotAllowed(f"At most {MAX_ITEMS} messages are decided together.")
    visible = (
        desk_messages()
        .visible_to(actor)
        .for_list()
        .filter(public_id__in=[one.message for one in ticked])
    )
    known = {message.public_id: message for message in visible}
    ended = []
    for one in ticked:
        message = known.get(one.message)
        kind = "failed"
        sentence = ""
        decision = None
        try:
            if outcome == Outcome.APPROVE and one.why_alone:
                raise VerdictNotAllowed(one.why_alone)
            result = give_verdict(
                message=one.message,
                actor=actor,
                outcome=outcome,
                fingerprint=one.fingerprint,
                reason=reason,
                sheet=sheet.id,
                longer=READING * len(ticked),
            )
            decision = result.decision
            if result.told:
                kind = "local"
                sentence = result.told
            elif decision is None:
                kind = "counted"
                sentence = f"{result.progress} approvals are given."
        except DeskError as error:
            decision = _own_decision(error, one, actor, outcome, reason)
            if decision is None:
                sentence = error.sentence
                if message is not None:
                    note_refusal(
                        message, actor=actor, outcome=outcome, sentence=sentence
                    )
        except DatabaseError:
            log.exception(
                "a verdict of a sheet could not be written",
                extra={"message_id": str(one.message)},
            )
            sentence = _NOT_SAVED
        if decision is not None:
            kind = "decided"
        key = decision.pk if decision else None
        ended.append(ItemResult(str(one.message), kind, sentence, key))
    done = sum(one.kind != "failed" for one in ended)
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


def _own_decision(
    error: DeskError, one: OnSheet, actor: Actor, outcome: str, reason: str
) -> Decision | None:
    """Return the decision that came first where it is the same one by the same person,
    as after a double press.
    """
    first = error.decision if isinstance(error, AlreadyDecided) else None
    if not isinstance(first, Decision) or first.state not in LIVE_DECISIONS:
        return None
    said = (
        str(first.given_by_id),
        first.outcome,
        first.reason,
        first.revision.fingerprint,
    )
    return first if said == (actor.id, outcome, reason, one.fingerprint) else None


def undo_batch(*, messages: Sequence[UUID], actor: Actor) -> int:
    """Undo those of these decisions that have not left, each separately; return how
    many.

    All of them are postponed first, so that the last one is not sent while the others
    are undone.
    """
    ours = Message.objects.visible_to(actor.acting_as(Role.REVIEWER)).filter(
        public_id__in=messages
    )
    Decision.objects.on(ours).postpone(UNDOING)
    undone = 0
    for message in messages:
        # A decision that is too late to be undone stays.
        with suppress(DeskError):
            undo_decision(message=message, actor=actor)
            undone += 1
    return undone


_KEY = "bulk"
# Older batches are found in the history.
KEPT = 3


@dataclass(frozen=True)
class Batch:
    """What was decided together, as the person's session keeps it for the page that
    shows it.
    """

    sheet: str
    outcome: str
    typed: Mapping[str, str]
    query: str
    items: Sequence[ItemResult]
    # Those that were ticked and not approved, because nobody had read them.
    unread: Sequence[str]
    id: str = field(default_factory=lambda: uuid7().hex)


@dataclass(frozen=True)
class Line:
    """One message of the batch as it stands now. `kind` is that of the result; undone
    where its decision was undone since.
    """

    message: Message
    result: ItemResult
    decision: Decision | None
    kind: str
    can_undo: bool
    is_moving: bool

    @property
    def status(self) -> Status:
        return shown_status(self.message)


def store_batch(session: MutableMapping[str, Any], batch: Batch) -> None:
    """Store a batch for the page that shows it."""
    session[_KEY] = [*session.get(_KEY, []), asdict(batch)][-KEPT:]


def stored_batches(session: MutableMapping[str, Any]) -> list[Batch]:
    """Return the newest batches of this session."""
    stored = session.get(_KEY, [])
    return [
        Batch(**{**one, "items": [ItemResult(**item) for item in one["items"]]})
        for one in stored
    ]


def find_repeat(
    session: MutableMapping[str, Any],
    sheet: Sheet,
    ticked: Sequence[OnSheet],
    *,
    outcome: str,
    actor: Actor,
) -> Batch | None:
    """Return the batch that already decided exactly this, as after a double click; None
    where none has.
    """
    asked = {one.message for one in ticked}
    for batch in stored_batches(session):
        if (batch.sheet, batch.outcome) == (sheet.id, outcome):
            done = {
                one.message.public_id
                for one in _lines(batch, actor)
                if one.kind not in ("failed", "undone")
            }
            if asked <= done:
                return batch
    return None


def stored_batch(session: MutableMapping[str, Any], batch: str | None) -> Batch | None:
    """Return a stored batch; None where this session has none with that id (any more)."""
    return next((one for one in stored_batches(session) if one.id == batch), None)


def done_context(batch: Batch, actor: Actor, *, now: datetime) -> dict[str, Any]:
    """Return what the page of outcomes shows."""
    lines: dict[str, list[Line]] = {
        kind: [] for kind in ("decided", "undone", "counted", "local", "failed")
    }
    for line in _lines(batch, actor):
        lines[line.kind].append(line)
    waiting = [one for one in lines["decided"] if one.can_undo]
    due = min((one.decision.due_at for one in waiting if one.decision), default=now)
    seconds = max(0, round((due - now).total_seconds()))
    return {
        **lines,
        "batch": batch,
        # Decided, and no longer visible to this person.
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
    found = (
        desk_messages()
        .visible_to(actor)
        .for_rows()
        .filter(public_id__in=[one.message for one in batch.items])
    )
    known = {str(message.public_id): message for message in found}
    lines = []
    for result in batch.items:
        message = known.get(result.message)
        if message is None:
            continue
        decision = next(
            (one for one in our_decisions(message) if one.pk == result.decision), None
        )
        newest = latest_decision(message)
        actions = available_actions(
            message,
            newest,
            is_reviewer=is_reviewer(actor, message),
            may_look=False,
        )
        kind = result.kind
        if decision is not None and decision.state == DecisionState.UNDONE:
            kind = "undone"
        can_undo = decision is not None and actions.can_undo and newest == decision
        lines.append(Line(message, result, decision, kind, can_undo, actions.is_moving))
    return lines
