"""The desk's sweep, a periodic job that runs every five seconds. Each of its duties
looks for rows of one kind that are due, and runs a command or sends a Celery task for
them: so work whose task was lost is still done. A command without a row is a duty by
itself: it reads what is due.
"""

import logging
from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet

from approvals import caps, collaboration, tasks
from approvals.decisions import by_rule, execute
from approvals.escalation import handling
from approvals.models import Arrival, Brake, BulkAct, Decision, Question, Replacement
from approvals.reconcile import closing
from common.sweeps import Duty, do_all, duty
from mirror.models import AttachedFile, Connection, Message, Thread
from mirror.tasks import fetch_file, read_thread, survey
from policy import gates, kill_switch
from policy.models import GateList
from policy.tasks import bring_minimum, push_list, tell_stops

log = logging.getLogger(__name__)


def sweep() -> str:
    """Do every duty. Return "swept", followed by the names of duties that failed."""
    failed = do_all(DUTIES).failed
    return f"swept, but for: {', '.join(failed)}" if failed else "swept"


def _apply_reports(message_id: int) -> None:
    message = Message.objects.select_related("connection").get(pk=message_id)
    # True if some of what was reported still has to be confirmed.
    if closing.apply_reports(message):
        tasks.ask_about.delay_on_commit(message_id)


def _command_for_each(
    command: Callable[[int], object], rows: Callable[[], QuerySet[Any]], most: int
) -> Duty:
    """Return a duty that calls a command with the key of each row, for at most `most`
    rows. If the command fails for a row, the others are still done.
    """

    def do(keys: list[int]) -> None:
        for key in keys:
            try:
                command(key)
            except Exception:
                log.exception(
                    "not done by the sweep",
                    extra={"key": key, "command": command.__name__},
                )

    return duty(rows, do, most=most)


def _task_for_each(
    task: Any, rows: Callable[[], QuerySet[Any]], most: int | None = None
) -> Duty:
    """Return a duty that sends a task with the key of each row, for at most `most`
    rows.
    """
    return duty(rows, task.delay_each, most=most)


def _deletion(rows: Callable[[], QuerySet[Any]]) -> Duty:
    """Return a duty that deletes the rows, at most 10,000 at a time."""
    return duty(rows, lambda keys: rows().filter(pk__in=keys).delete(), most=10_000)


# The duties by name, in the order in which they are done; the numbers are the most rows
# that one sweep takes.
DUTIES: dict[str, Duty] = {
    "abandoned": _command_for_each(execute.abandon, Decision.objects.abandoned, 200),
    # An index tells whether any is left; putting all of them in order takes longer.
    "policy": duty(by_rule.not_asked, lambda _: by_rule.apply_policy()),
    "to people": _command_for_each(by_rule.give_to_people, by_rule.to_stop, 200),
    "expired": by_rule.expire_due,
    "expiring": by_rule.announce_expiring,
    "gate expiry": _task_for_each(
        tasks.tell_expiry, Message.objects.expiry_to_tell, 100
    ),
    "review plans": _command_for_each(handling.watch, handling.to_watch, 200),
    "away": _command_for_each(handling.pass_on, handling.left_by_the_absent, 200),
    "outdated": _command_for_each(
        execute.refuse_outdated, Decision.objects.outdated_for_later, 200
    ),
    "due": _task_for_each(tasks.execute_decision, Decision.objects.due, 200),
    "bulk acts": _task_for_each(
        tasks.carry_on_bulk_act, BulkAct.objects.to_carry_on, 20
    ),
    "edits": _task_for_each(tasks.send_replacement, Replacement.objects.due, 100),
    "in doubt": _task_for_each(tasks.resolve_decision, Decision.objects.to_resolve, 50),
    "content": _task_for_each(tasks.hydrate, Message.objects.to_hydrate, 200),
    "reported": _command_for_each(
        _apply_reports, Message.objects.reported_and_ended, 100
    ),
    "late": _task_for_each(tasks.ask_about, Message.objects.to_ask_about, 50),
    "files": _task_for_each(fetch_file, AttachedFile.objects.to_fetch, 100),
    "threads": _task_for_each(read_thread, Thread.objects.to_read, 100),
    # One whole read proves that a connection is healthy again and brings everything
    # that was missed.
    "unwell": _task_for_each(tasks.read_connection, Connection.objects.to_probe),
    "overdue": _task_for_each(tasks.read_connection, Connection.objects.overdue),
    "claims": collaboration.end_idle_claims,
    "floods over": _command_for_each(caps.end_over, Brake.objects.over, 100),
    "arrivals": _deletion(Arrival.objects.past),
    "put off": collaboration.unsnooze_due,
    "questions": _deletion(Question.objects.past),
    # Creates missing rows; "lists" below sends their lists to the gateway.
    "new lists": gates.ensure,
    "stops": _task_for_each(tell_stops, kill_switch.to_tell, 50),
    "minimum": _task_for_each(bring_minimum, gates.to_compare, 50),
    "surveys": _task_for_each(survey, Connection.objects.to_survey, 20),
    "lists": _task_for_each(push_list, GateList.objects.to_push, 100),
}
