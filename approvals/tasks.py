"""The Celery tasks of the review desk. A task calls one command of the desk, or
enqueues another task for many rows, and returns a short text for the log.

Tasks that call MultiMail run in a slot of their connection (mirror/tasks.py). A task
imports its command inside the function, because that module imports this one to enqueue
tasks.
"""

import threading
from functools import partial

from celery import shared_task

from approvals.models import Decision
from common.postgres import clock
from common.tasks import AfterCommitTask
from mirror.models import Connection
from mirror.tasks import connection_task

# Seconds after which a task tries again because another worker is reading the
# connection.
NEXT_READ = 1.5

desk_task = shared_task(base=AfterCommitTask)


@connection_task("messages")
def hydrate(message_id: int) -> str:
    """Fetch the content of one message."""
    from approvals.reconcile import reads

    outcome = reads.hydrate(message_id, clock())
    if outcome in ("not now", "to be continued"):
        hydrate.apply_async_on_commit((message_id,), countdown=NEXT_READ)
    return outcome


@connection_task("messages__decisions", is_urgent=True)
def execute_decision(decision_id: int) -> str:
    """Carry out one decision at MultiMail, if it is due."""
    from approvals.decisions import execute

    return execute.run_decision(decision_id)


@connection_task("messages", is_urgent=True)
def tell_expiry(message_id: int) -> str:
    """Tell our gateway when one message expires."""
    from approvals.decisions import by_rule

    return by_rule.tell_expiry(message_id)


@connection_task("messages__replacements", is_urgent=True)
def send_replacement(replacement_id: int) -> str:
    """Send one edited message to MultiMail, and reject the message that it replaces."""
    from approvals.editing import send

    return send.run_replacement(replacement_id)


# Servers of strangers may take half a minute: most threads stay free for decisions.
_PICTURE_SLOTS = threading.BoundedSemaphore(2)


# Acts may take hours: most threads stay free for everything else.
_BULK_SLOTS = threading.BoundedSemaphore(2)


@desk_task
def carry_on_bulk_act(act_id: int) -> str:
    """Decide the next messages of a bulk act."""
    from approvals.bulk import acts

    if not _BULK_SLOTS.acquire(blocking=False):
        return "no slot free"
    try:
        return carry_on_bulk_act.repeat(partial(acts.decide_next, act_id), act_id)
    finally:
        _BULK_SLOTS.release()


@desk_task
def fetch_pictures(message_id: int) -> str:
    """Fetch the remote pictures of one message that a person asked for."""
    from approvals import pictures

    if not _PICTURE_SLOTS.acquire(blocking=False):
        fetch_pictures.apply_async_on_commit((message_id,), countdown=NEXT_READ)
        return "no slot free"
    try:
        return pictures.fetch_pictures(message_id)
    finally:
        _PICTURE_SLOTS.release()


@desk_task
def execute_due() -> str:
    """Enqueue `execute_decision` for each due decision. Used after a kill switch or a
    pause has ended.
    """
    execute_decision.delay_each(
        Decision.objects.due().values_list("pk", flat=True)[:200]
    )
    return "sent"


@connection_task("pk", is_long=True)
def read_connection(connection_id: int) -> str:
    """Read everything that one connection holds, and bring the mirror up to date."""
    from approvals.reconcile import whole_read

    outcome = whole_read.read_everything(connection_id, clock())
    if outcome == "to be continued":
        read_connection.delay_on_commit(connection_id)
    return outcome


@desk_task
def reconcile_all() -> str:
    """Enqueue `read_connection` for each healthy connection."""
    read_connection.delay_each(
        Connection.objects.to_read().values_list("pk", flat=True)
    )
    return "sent"


@connection_task("pk")
def check_reports(connection_id: int) -> str:
    """Read what webhooks reported about the end of messages of one connection, so that
    it is confirmed or refuted.
    """
    from approvals.reconcile import reads

    outcome = reads.check_reports(connection_id, clock())
    if outcome == "again":
        check_reports.apply_async_on_commit((connection_id,), countdown=NEXT_READ)
    return outcome


@connection_task("messages__decisions")
def resolve_decision(decision_id: int) -> str:
    """Find out at MultiMail what became of one decision whose outcome is not known."""
    from approvals.reconcile import closing

    return closing.resolve(decision_id)


@connection_task("messages")
def ask_about(message_id: int) -> str:
    """Ask MultiMail for the status of one message, for instance because its next event
    is late.
    """
    from approvals.reconcile import reads

    return reads.ask_about(message_id, clock())


@desk_task
def count_unsigned() -> str:
    """Store how many webhooks with a wrong signature each connection got in the last
    day.
    """
    from approvals.intake import unsigned

    unsigned.store_day_counts()
    return "counted"


@desk_task
def sweep() -> str:
    """Do the desk's periodic sweep, which finds work whose task was lost."""
    from approvals.sweeping import sweep

    return sweep()
