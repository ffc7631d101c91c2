"""The desk's periodic sweep: its duties find what no task was sent for."""

import logging
from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet

from approvals import caps, collaboration, tasks
from approvals.decisions import by_rule, execute
from approvals.escalation import handling
from approvals.models import (
    Arrival,
    Brake,
    Claim,
    Decision,
    Question,
    Replacement,
    RuleWeight,
    Snooze,
)
from approvals.reconcile import closing
from approvals.standing import commands as standing
from common.sweeps import Duty, do_all, duty
from mirror.models import AttachedFile, Connection, Message, Thread
from mirror.tasks import fetch_file, read_thread, survey
from policy import gate_minimum
from policy.models import GateList
from policy.tasks import bring_minimum, push_list

log = logging.getLogger(__name__)


def sweep() -> str:
    """Do every duty, and say which of them failed."""
    failed = do_all(DUTIES).failed
    return f"swept, but for: {', '.join(failed)}" if failed else "swept"


def _apply_reports(message_id: int) -> None:
    message = Message.objects.select_related("connection").get(pk=message_id)
    if closing.apply_reports(message):
        tasks.ask_about.delay_on_commit(message_id)


def _one_by_one(
    command: Callable[[int], object], rows: Callable[[], QuerySet[Any]], most: int
) -> Duty:
    """Call a command for each row, which has a transaction of its own: one that fails
    does not keep the others waiting.
    """

    def do(keys: list[int]) -> None:
        for key in keys:
            try:
                command(key)
            except Exception:
                name = command.__name__
                log.exception(
                    "not done by the sweep", extra={"key": key, "command": name}
                )

    return duty(rows, do, most=most)


def _with(command: Callable[[], object], rows: Callable[[], QuerySet[Any]]) -> Duty:
    """Call a command that reads these rows itself."""
    return duty(rows, lambda _: command())


def _each(
    task: Any, rows: Callable[[], QuerySet[Any]], most: int | None = None
) -> Duty:
    """Send a task for each row."""
    return duty(rows, task.delay_each, most=most)


def _delete(rows: Callable[[], QuerySet[Any]]) -> Duty:
    """Delete the rows."""
    return duty(rows, lambda keys: rows().filter(pk__in=keys).delete(), most=10_000)


# Optional features add theirs.
DUTIES: dict[str, Duty] = {
    "abandoned": _one_by_one(execute.abandon, Decision.objects.abandoned, 200),
    "policy": _with(by_rule.apply_policy, by_rule.not_asked),
    "standing approvals over": _one_by_one(standing.end_over, standing.over, 100),
    "samples": _one_by_one(standing.note_outcome, standing.undecided_samples, 200),
    "to people": _one_by_one(by_rule.give_to_people, by_rule.to_stop, 200),
    "standing approvals": _with(by_rule.approve_due, by_rule.not_met),
    "expired": _with(by_rule.expire_due, by_rule.expired),
    "expiring": _with(by_rule.announce_expiring, by_rule.expiring),
    "gate expiry": _each(tasks.tell_expiry, Message.objects.expiry_to_tell, 100),
    "review plans": _one_by_one(handling.watch, handling.to_watch, 200),
    "away": _one_by_one(handling.pass_on, handling.left_by_the_absent, 200),
    "outdated": _one_by_one(
        execute.refuse_outdated, Decision.objects.outdated_for_later, 200
    ),
    "due": _each(tasks.execute_decision, Decision.objects.due, 200),
    "edits": _each(tasks.send_replacement, Replacement.objects.due, 100),
    "in doubt": _each(tasks.resolve_decision, Decision.objects.to_resolve, 50),
    "content": _each(tasks.hydrate, Message.objects.to_hydrate, 200),
    "reported": _one_by_one(_apply_reports, Message.objects.reported_and_ended, 100),
    "late": _each(tasks.ask_about, Message.objects.to_ask_about, 50),
    "files": _each(fetch_file, AttachedFile.objects.to_fetch, 100),
    "threads": _each(read_thread, Thread.objects.to_read, 100),
    # One whole read proves that a connection is healthy again and brings everything
    # that was missed.
    "unwell": _each(tasks.read_connection, Connection.objects.to_probe),
    "overdue": _each(tasks.read_connection, Connection.objects.overdue),
    "claims": _with(
        collaboration.end_idle_claims, lambda: Claim.objects.over().order_by("pk")
    ),
    "floods over": _one_by_one(caps.end_over, Brake.objects.over, 100),
    "arrivals": _delete(Arrival.objects.past),
    "put off": _with(
        collaboration.unsnooze_due, lambda: Snooze.objects.over().order_by("pk")
    ),
    "questions": _delete(Question.objects.past),
    # What this makes is sent by "lists" below.
    "new lists": GateList.objects.ensure,
    "minimum": _each(bring_minimum, gate_minimum.to_compare, 50),
    "surveys": _each(survey, Connection.objects.to_survey, 20),
    "lists": _each(push_list, GateList.objects.to_push, 100),
    "weights": _each(
        tasks.reweigh, lambda: RuleWeight.objects.exclude(weighed_to=None)
    ),
}
