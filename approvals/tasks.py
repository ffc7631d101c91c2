"""Celery's tasks of the desk; each that asks MultiMail runs in a slot of its row's connection."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from functools import cache, partial, wraps
from typing import Any
from uuid import UUID

from celery import shared_task
from django.db.models import QuerySet

from approvals.brake import commands as brake
from approvals.collaboration import claims, comments, snooze
from approvals.decisions import apply_policy, execute, expire, gate_expiry, standing
from approvals.editing import send
from approvals.escalation import assigning, watch
from approvals.intake import unsigned
from approvals.models import Claim, Decision, Question, Replacement, RuleWeight, Snooze
from approvals.pictures import fetch as pictures
from approvals.planted import PracticeMessage
from approvals.practice import ending as practice
from approvals.practice import planting
from approvals.querysets.messages import desk_messages
from approvals.reconcile import closing, reads, resolve
from approvals.risk_rules import weighing
from approvals.standing import ending
from common.enqueue import enqueue, has_enough_to_do
from common.postgres import clock
from common.postgres.statements import ANY, RowQuery
from common.sweeps import Duty, Sweep, duty
from mirror import brakes
from mirror.attachments import fetch
from mirror.attachments.renderings.store import drop_old_renderings
from mirror.models import AttachedFile, Brake, Connection, Message, RemotePicture, Thread
from mirror.sync import address_lists, capabilities, health, mailboxes
from mirror.sync import retention as retain
from mirror.sync.connection_slots import ConnectionSlots
from mirror.threads import fetch as conversations
from policy import gate_minimum
from policy.allowlists import applicable, gates, refusals
from policy.models import GateList

# From a row to its connection.
_CONNECTION_PATHS: dict[Any, str] = {
    Message: "connection__",
    Decision: "message__connection__",
    Replacement: "connection__",
    AttachedFile: "message__connection__",
    Thread: "mailbox__connection__",
    GateList: "mailbox__connection__",
    Connection: "",
}


log = logging.getLogger(__name__)

# The worker sets how many threads it has.
SLOTS = ConnectionSlots(threads=8)
# A whole read is running elsewhere and will show it, or else the next one does.
NEXT_READ = 1.5
# Seconds after which a long task yields its thread and enqueues itself again.
AT_A_TIME = 5.0


def _in_slot(model: Any, *, is_urgent: bool = False) -> Callable[[Callable[[int], str]], Any]:
    """Make a task that runs in a slot of its row's connection, or is queued until there is one."""

    @cache
    def connection_of() -> RowQuery[Any]:
        path = _CONNECTION_PATHS[model]
        return RowQuery(model.objects.filter(pk=ANY).values_list(f"{path}id", f"{path}failing_since"))

    def task_of(command: Callable[[int], str]) -> Any:
        @shared_task
        @wraps(command)
        def task(row_id: int) -> str:
            found = connection_of().first({ANY: row_id})
            if found is None:
                return "gone"
            connection, failing_since = found
            entry = None
            try:
                with SLOTS.enter(
                    connection, (task.name, row_id), is_well=failing_since is None, is_urgent=is_urgent
                ) as entry:
                    return command(row_id) if entry.is_in else "no room now"
            finally:
                for name, key in entry.next if entry else ():
                    enqueue(name, key)

        return task

    return task_of


@_in_slot(Message)
def hydrate(message_id: int) -> str:
    """Fetch the content of one message."""
    outcome = reads.hydrate(message_id=message_id, now=clock())
    if outcome in ("not now", "to be continued"):
        enqueue(hydrate.name, message_id, countdown=NEXT_READ)
    return outcome


@_in_slot(Decision, is_urgent=True)
def execute_decision(decision_id: int) -> str:
    """Carry one decision out, if it is due."""
    return execute.run_decision(decision_id=decision_id)


@_in_slot(Message, is_urgent=True)
def tell_expiry(message_id: int) -> str:
    """Tell our gateway the expiry of one message."""
    return gate_expiry.tell_expiry(message_id=message_id)


@_in_slot(Replacement, is_urgent=True)
def send_replacement(replacement_id: int) -> str:
    """Send one corrected message, and reject the one that it replaces."""
    return send.run_replacement(replacement_id=replacement_id)


@shared_task
def execute_due(_: int = 0) -> str:
    """Enqueue every due decision, after a kill switch or pause has ended."""
    _enqueue(execute_decision, Decision.objects.due()[:200])
    return "woken"


@_in_slot(Connection)
def read_connection(connection_id: int) -> str:
    """Reconcile one connection."""
    outcome = reads.read_everything(connection_id=connection_id, now=clock())
    if outcome == "to be continued":
        enqueue(read_connection.name, connection_id)
    return outcome


@_in_slot(Connection)
def check_reports(connection_id: int) -> str:
    """Have what webhooks reported of the end of messages confirmed or refuted."""
    outcome = reads.check_reports(connection_id=connection_id, now=clock())
    if outcome == "again":
        enqueue(check_reports.name, connection_id, countdown=NEXT_READ)
    return outcome


@_in_slot(Connection)
def read_suppressed(connection_id: int) -> str:
    """Read the suppressed addresses of one connection."""
    return address_lists.read_suppressed(connection_id=connection_id)


@shared_task
def read_all_suppressed() -> str:
    """Enqueue `read_suppressed` for each healthy connection that has the key for it."""
    _enqueue(read_suppressed, Connection.objects.to_read().exclude(admin_key=""))
    return "woken"


@_in_slot(Connection)
def read_refusals(connection_id: int) -> str:
    """Read what the gate of one connection refused."""
    return refusals.read_refusals(connection_id=connection_id)


@shared_task
def read_all_refusals() -> str:
    """Enqueue `read_refusals` for each healthy connection to our own gateway."""
    _enqueue(read_refusals, Connection.objects.to_read().filter(is_our_gateway=True))
    return "woken"


@_in_slot(Connection)
def survey(connection_id: int) -> str:
    """Ask MultiMail what it can do at one connection."""
    return capabilities.learn(connection_id=connection_id)


@_in_slot(Connection)
def bring_minimum(connection_id: int) -> str:
    """Bring the organisation's minimum oversight mode to one gateway."""
    return gate_minimum.bring_minimum(connection_id=connection_id)


@_in_slot(GateList)
def push_list(gate_list_id: int) -> str:
    """Bring one allowlist to its gate."""
    return gates.push_list(gate_list_id=gate_list_id)


@shared_task
def push_lists(_: int = 0) -> str:
    """Enqueue a push of each allowlist that its gate lacks, including lists of new mailboxes."""
    GateList.objects.ensure()
    _enqueue(push_list, GateList.objects.to_push()[:100])
    return "woken"


@_in_slot(Connection)
def read_mailboxes(connection_id: int) -> str:
    """Read the mailboxes of one connection."""
    return mailboxes.read_mailboxes(connection_id=connection_id) or "read"


@shared_task
def read_all_mailboxes() -> str:
    """Enqueue `read_mailboxes` for each healthy connection that has a key for it."""
    _enqueue(read_mailboxes, Connection.objects.to_read().exclude(admin_key="", read_key=""))
    return "woken"


@_in_slot(Connection)
def read_contacts(connection_id: int) -> str:
    """Read the contacts of an account, for lists that go by them."""
    return address_lists.read_contacts(connection_id=connection_id)


@shared_task
def read_all_contacts() -> str:
    """Enqueue `read_contacts` for each healthy connection that has a key for it, or had one."""
    _enqueue(read_contacts, Connection.objects.to_read().exclude(read_key="", contacts_read_at=None))
    return "woken"


@shared_task
def count_unsigned() -> str:
    """Store how many webhooks with a wrong signature each connection got in the last day."""
    unsigned.store_day_counts()
    return "counted"


@shared_task
def count_hits(_: int = 0) -> str:
    """Count what entries of allowlists let through, for a few seconds at a time."""
    return _for_a_while(count_hits, 0, partial(applicable.count_hits, limit=100)) or "counted"


@_in_slot(Decision)
def resolve_decision(decision_id: int) -> str:
    """Find out what became of one decision in doubt."""
    return resolve.resolve(decision_id=decision_id)


@_in_slot(Message)
def ask_about(message_id: int) -> str:
    """Ask what became of one message whose next event is late."""
    return reads.ask_about(message_id=message_id, now=clock())


@_in_slot(AttachedFile)
def fetch_file(file_id: int) -> str:
    """Fetch one attached file."""
    return fetch.fetch_file(file_id=file_id)


# Servers of strangers may take half a minute: most threads stay free for everything else.
_PICTURE_SLOTS = threading.BoundedSemaphore(2)


@shared_task
def load_pictures(picture_id: int) -> str:
    """Fetch the remote pictures that somebody asked for of one message."""
    if not _PICTURE_SLOTS.acquire(blocking=False):
        enqueue(load_pictures.name, picture_id, countdown=NEXT_READ)
        return "no room now"
    try:
        return pictures.load_pictures(picture_id=picture_id)
    finally:
        _PICTURE_SLOTS.release()


@_in_slot(Thread)
def read_thread(thread_id: int) -> str:
    """Read one thread."""
    return conversations.read_thread(thread_id=thread_id)


@_in_slot(Message)
def freshen_thread(message_id: int) -> str:
    """Read the thread of a message that somebody opened, if that was not done a moment ago."""
    return conversations.freshen_thread(message_id=message_id)


@shared_task
def hear_of_letter(public_id: str) -> str:
    """Have a message's thread read again if a draft waits in it."""
    thread = conversations.request_read(message=UUID(public_id))
    if thread is not None:
        enqueue(read_thread.name, thread.pk)
    return "nobody waits" if thread is None else "to be read"


@shared_task
def sweep() -> str:
    """Find what was not enqueued: content to fetch, decisions that are due, abandoned or in doubt, late events.

    A duty that fails is logged; the others still run.
    """
    failed = _SWEEP.run().failed
    return f"swept, but for: {', '.join(failed)}" if failed else "swept"


def _abandon(decision_ids: list[int]) -> None:
    _one_by_one(execute.abandon, decision_ids)


def _refuse_outdated(decision_ids: list[int]) -> None:
    _one_by_one(execute.refuse_outdated, decision_ids)


def _one_by_one(command: Callable[..., None], decision_ids: list[int]) -> None:
    for decision_id in decision_ids:
        try:
            # Each in its own transaction: one that fails does not keep the others from being ended.
            command(decision_id=decision_id)
        except Exception:
            log.exception("decision not ended", extra={"decision": decision_id, "command": command.__name__})


def _apply_reports(message_ids: list[int]) -> None:
    for message in Message.objects.filter(pk__in=message_ids).select_related("connection"):
        if closing.apply_reports(message):
            enqueue(ask_about.name, message.pk)


@shared_task
def reject_set_apart(brake_id: int) -> str:
    """Reject the messages of a flood as somebody asked, for a few seconds at a time."""
    return _for_a_while(reject_set_apart, brake_id, partial(brake.reject_some, brake_id=brake_id)) or "rejected"


@shared_task
def reweigh(weight_id: int) -> str:
    """Weigh held messages again after a rule was given other points, for a few seconds at a time."""
    return _for_a_while(reweigh, weight_id, partial(weighing.reweigh, weight_id=weight_id)) or "weighed"


@shared_task
def reconcile_all() -> str:
    """Enqueue a whole read of each healthy connection."""
    _enqueue(read_connection, Connection.objects.to_read())
    return "woken"


@shared_task
def forget() -> str:
    """Delete old webhooks, bytes of old files and pictures, renderings and old threads, a few at a time."""
    drop_old_renderings()
    steps = (
        retain.forget_arrivals,
        retain.forget_webhooks,
        retain.forget_files,
        retain.forget_pictures,
        retain.forget_threads,
    )
    return f"{' + '.join(str(step()) for step in steps)} forgotten"


def _for_a_while(task: Any, row_id: int, step: Callable[[], int]) -> str:
    """Run batches until none is left or the time is over; then enqueue the task again and say so."""
    until = time.monotonic() + AT_A_TIME
    while step():
        if time.monotonic() > until:
            enqueue(task.name, row_id)
            return "to be continued"
    return ""


def _enqueue(task: Any, rows: QuerySet[Any]) -> None:
    _enqueue_ids(task, rows.values_list("pk", flat=True))


def _enqueue_ids(task: Any, row_ids: Iterable[int]) -> None:
    if has_enough_to_do(task.name):
        return
    for row_id in row_ids:
        enqueue(task.name, row_id)


def _with(command: Callable[[], object], rows: Callable[[], QuerySet[Any]], most: int | None = 1) -> Duty:
    """Call a command that reads these rows itself."""
    return duty(rows, lambda _: command(), most=most)


def _each(task: Any, rows: Callable[[], QuerySet[Any]], most: int | None = None) -> Duty:
    """Enqueue a task for each row."""
    return duty(rows, partial(_enqueue_ids, task), most=most)


_SWEEP = Sweep(
    {
        "abandoned": duty(Decision.objects.abandoned, _abandon, most=200),
        "policy": _with(apply_policy.apply_due, apply_policy.due),
        "standing approvals over": duty(ending.over, ending.end_over, most=100),
        "samples": duty(ending.undecided_samples, ending.note_outcomes, most=200),
        "to people": duty(standing.to_stop, standing.give_to_people, most=200),
        "standing approvals": _with(standing.approve_due, standing.due),
        "expired": _with(expire.expire_due, expire.due),
        "expiring": _with(expire.announce_expiring, lambda: desk_messages().nearly_over()),
        "gate expiry": _each(tell_expiry, Message.objects.expiry_to_tell, 100),
        "practice": duty(planting.due, planting.plant_due, most=200),
        "practice over": duty(PracticeMessage.objects.over, practice.end_over, most=200),
        "review plans": duty(watch.to_watch, watch.watch, most=200),
        "away": duty(assigning.left_by_the_absent, assigning.pass_on, most=200),
        "stale": _with(health.tell_of_staleness, Connection.objects.turned_stale),
        "fresh again": _with(health.tell_of_staleness, Connection.objects.turned_fresh),
        "outdated": duty(Decision.objects.outdated_for_later, _refuse_outdated, most=200),
        "due": _each(execute_decision, Decision.objects.due, 200),
        "edits": _each(send_replacement, Replacement.objects.due, 100),
        "in doubt": _each(resolve_decision, Decision.objects.to_resolve, 50),
        "content": _each(hydrate, Message.objects.to_hydrate, 200),
        "reported": duty(Message.objects.reported_and_ended, _apply_reports, most=100),
        "late": _each(ask_about, Message.objects.to_ask_about, 50),
        "files": _each(fetch_file, AttachedFile.objects.to_fetch, 100),
        "pictures": _each(load_pictures, RemotePicture.objects.due, 50),
        "threads": _each(read_thread, Thread.objects.to_read, 100),
        # One whole read proves that a connection is healthy again and brings everything that was missed.
        "unwell": _each(read_connection, Connection.objects.to_probe),
        "overdue": _each(read_connection, Connection.objects.overdue),
        "claims": _with(claims.end_idle, lambda: Claim.objects.over().order_by("pk")),
        "floods over": duty(Brake.objects.over, brakes.end_over, most=100),
        "floods to reject": _each(reject_set_apart, Brake.objects.to_reject, 20),
        "put off": _with(snooze.unsnooze_due, lambda: Snooze.objects.over().order_by("pk")),
        "questions": _with(comments.delete_past_questions, Question.objects.past),
        "new lists": Duty(GateList.objects.missing, lambda _: push_lists()),
        "minimum": _each(bring_minimum, gate_minimum.to_compare, 50),
        "surveys": _each(survey, Connection.objects.to_survey, 20),
        "lists": _each(push_list, GateList.objects.to_push, 100),
        "weights": _each(reweigh, lambda: RuleWeight.objects.exclude(weighed_to=None)),
    }
)
