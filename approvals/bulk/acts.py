"""The commands of bulk acts: begin one, carry it on, stop it.

A worker decides the messages of an act one after the other, each by `give_verdict` in a
transaction of its own, with the roles that the person has by then, and carries each out
before the next. So decisions of others never wait behind an act. The rows say what is
left: any worker can go on where another one died, and no message is decided twice.
"""

import logging
from contextlib import suppress
from datetime import timedelta

from django.db import DatabaseError, transaction
from django.db.models import Max
from django.db.models.functions import Now

from approvals import tasks
from approvals.bulk.batch import NOT_SAVED
from approvals.bulk.matching import Matching, decidable
from approvals.decisions.decide import give_verdict, note_refusal
from approvals.decisions.execute import run_decision
from approvals.decisions.withdraw import undo_decision
from approvals.desk_messages import desk_messages
from approvals.errors import InvalidInput
from approvals.models import BulkAct, BulkItem
from audit.recording import record
from common.actors import Actor, Role, worker
from common.postgres import atomic_with_retry, clock
from mirror.errors import DeskError
from mirror.models import Message
from mirror.states import Outcome

ACTOR = worker("bulk")
# So many decisions of an act may wait, as while a connection is paused. They become due
# together, before decisions that people give later.
MAY_WAIT = 10

log = logging.getLogger(__name__)


@atomic_with_retry
def begin_act(
    *, matching: Matching, actor: Actor, outcome: str, reason: str
) -> BulkAct:
    """Begin to reject the messages that were previewed, or to request changes to them.
    Pressed twice, it is one act.

    Those that were decided meanwhile or have a newer version are left out. Raises
    InvalidInput if none is left.
    """
    if act := BulkAct.objects.filter(public_id=matching.id).first():
        return act
    messages = decidable(desk_messages().filter(pk__in=matching.messages), actor)
    messages = messages.filter(revision__lte=matching.newest_version)
    if outcome == Outcome.SEND_BACK:
        messages = messages.filter(direction="outbound")
    rows = messages.order_by("held_at", "pk")
    versions = list(rows.values_list("pk", "revision__fingerprint"))
    if not versions:
        raise InvalidInput(
            "None of these messages can be decided any more, so nothing was begun."
        )
    window = messages.aggregate(longest=Max("mailbox__undo_window"))["longest"]
    window = window or timedelta(0)
    act = BulkAct.objects.create(
        public_id=matching.id,
        person_id=actor.person_id,
        outcome=outcome,
        reason=reason,
        matched=matching.words,
        begins_at=clock() + window,
    )
    BulkItem.objects.bulk_create(
        BulkItem(act=act, message_id=key, fingerprint=fingerprint)
        for key, fingerprint in versions
    )
    _record(
        "bulk.begun",
        act,
        actor,
        outcome=outcome,
        reason=reason,
        matched=matching.words,
        messages=str(len(versions)),
    )
    tasks.carry_on_bulk_act.apply_async_on_commit(
        (act.pk,), countdown=window.total_seconds() + 0.05
    )
    return act


def decide_next(act_id: int) -> bool:
    """Decide the next message of an act and carry that out. Return whether there was
    one; if nothing of the act is left, finish it.

    If the person may decide no more, the act is stopped.
    """
    acts = BulkAct.objects.to_carry_on().select_related("person")
    act = acts.filter(pk=act_id).first()
    if act is None:
        return False
    actor = act.person.actor(surface="web")
    if not actor.has(Role.REVIEWER):
        stop_act(act, by=None)
    under_way = act.items.under_way().count()
    if under_way >= MAY_WAIT:
        return False
    item = act.items.waiting().order_by("pk").first()
    if item is None:
        if not under_way:
            _finish(act)
        return False
    try:
        decision_id = _give_verdict(item.pk, act, actor)
    except DatabaseError:
        # Tried again, it would keep the act from the other messages.
        log.exception("a verdict of a bulk act was not saved", extra={"key": item.pk})
        BulkItem.objects.waiting().filter(pk=item.pk).update(
            result=BulkItem.Result.FAILED, sentence=NOT_SAVED
        )
        return True
    if decision_id is not None:
        run_decision(decision_id)
    return True


@atomic_with_retry
def _give_verdict(item_id: int, act: BulkAct, actor: Actor) -> int | None:
    """Give the verdict on one message of an act, unless another worker does or somebody
    stopped the act. Return the key of the decision.
    """
    free = BulkItem.objects.waiting().select_for_update(skip_locked=True)
    item = free.filter(pk=item_id).first()
    if item is None:
        return None
    message = Message.objects.with_content().get(pk=item.message_id)
    try:
        with transaction.atomic():
            item.decision = give_verdict(
                message=message.public_id,
                actor=actor,
                outcome=act.outcome,
                fingerprint=item.fingerprint,
                reason=act.reason,
                sheet=act.public_id.hex,
                pressed_at=act.pressed_at,
                is_carried_out_next=True,
            ).decision
        item.result = BulkItem.Result.DECIDED
    except DeskError as error:
        item.result = BulkItem.Result.FAILED
        item.sentence = error.sentence
        note_refusal(message, actor=actor, outcome=act.outcome, sentence=error.sentence)
    item.save()
    return item.decision_id


def stop_act(act: BulkAct, *, by: Actor | None) -> None:
    """Stop an act: what waits is not decided, and what is decided and not carried out
    yet is undone. Without `by` the desk stops it, because the person may decide no
    more. An act that is finished or stopped stays as it is.
    """
    if not _stop_waiting(act, by) or by is None:
        return
    for item in act.items.under_way().select_related("message"):
        # What is being carried out stays.
        with suppress(DeskError):
            undo_decision(message=item.message.public_id, actor=by)


@atomic_with_retry
def _stop_waiting(act: BulkAct, by: Actor | None) -> bool:
    is_stopped = (
        BulkAct.objects.running()
        .filter(pk=act.pk, stopped_at=None)
        .update(stopped_at=Now(), stopped_by=by.person_id if by else None)
    )
    if is_stopped:
        # Waits for a message that is being decided at this moment.
        stopped = act.items.waiting().update(result=BulkItem.Result.STOPPED)
        _record("bulk.stopped", act, by or ACTOR, stopped=str(stopped))
    return bool(is_stopped)


@atomic_with_retry
def _finish(act: BulkAct) -> None:
    if BulkAct.objects.running().filter(pk=act.pk).update(finished_at=Now()):
        counts = {state: str(number) for state, number in act.counts().items()}
        _record("bulk.finished", act, ACTOR, **counts)


def _record(action: str, act: BulkAct, actor: Actor, **details: str) -> None:
    record(action, actor, details={"sheet": act.public_id.hex, **details})
