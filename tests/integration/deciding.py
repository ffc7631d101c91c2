"""Helpers for tests of decisions: give a verdict, carry out a decision, and run
concurrent sessions.
"""

import threading
import time
from datetime import timedelta

from django.db import connections
from django.db.models.functions import Now

from approvals.decisions.decide import give_verdict
from approvals.decisions.execute import run_decision
from approvals.decisions.ruling import rulings
from approvals.decisions.withdraw import undo_decision, withdraw_decision
from approvals.models import Decision, Replacement
from approvals.reconcile.reads import read_everything
from common.postgres import clock
from mirror.models import Message
from tests.factories import actor_of, change_row


class Killed(BaseException):
    """Raised in place of a crash of the worker's process."""


def die(*_):
    raise Killed


def decide(message, person, outcome="approve", reason="", *, surface="web", **more):
    """Give a verdict on the newest version, or on one with this `fingerprint=`."""
    message.refresh_from_db()
    more.setdefault("fingerprint", message.fingerprint)
    actor = person.actor(surface=surface)
    return give_verdict(
        message=message.public_id, actor=actor, outcome=outcome, reason=reason, **more
    )


def decided(message, person, outcome="approve", reason="No", **fields):
    """Decide, and set fields of the decision, such as a `state` that normally needs a
    call of MultiMail. Return the decision.
    """
    result = decide(message, person, outcome, "" if outcome == "approve" else reason)
    for row, values in (
        (result.decision, fields),
        (result.verdict, {"live": fields.get("state") not in ("withdrawn", "refused")}),
    ):
        change_row(row, **values)
    return result.decision


def ruling_of(message, person, now=None):
    """Return whether a person may decide a message as it is now, and what it needs."""
    found = Message.objects.with_content().with_connection().get(pk=message.pk)
    return rulings([found], actor_of(person), now=now)[found.pk]


def needed(message, person):
    """Return how many approvals a message needs."""
    return ruling_of(message, person).demand.progress.needed


def undo(message, person):
    return undo_decision(message=message.public_id, actor=actor_of(person))


def withdraw(message, person):
    return withdraw_decision(message=message.public_id, actor=actor_of(person))


def make_decision(message, person, state="recorded", outcome="approve", **fields):
    """Store a decision in any state, directly in the database."""
    values = {"due_at": Now(), "reference": f"R{Decision.objects.count()}", **fields}
    return Decision.objects.create(
        message=message, revision=message.revision, given_by=person, outcome=outcome,
        state=state, **values,
    )  # fmt: skip


def make_edit(message, person, **fields):
    """Store an edit of a message, directly in the database."""
    values = {"reference": "0123456789", "to": ["dana@northwind.example"], **fields}
    return Replacement.objects.create(
        message=message, root=message, revision=message.revision,
        connection=message.connection, person=person, **values,
    )  # fmt: skip


def post_verdict(client, message, *, headers=None, **fields):
    """Post a verdict on the version of `message`, by default an approval."""
    posted = {
        "outcome": "approve",
        "fingerprint": message.revision and message.revision.fingerprint,
        "reason": "",
        **fields,
    }
    path = f"/queue/{message.public_id}/verdict/"
    return client.post(path, posted, headers=headers or {})


def make_due():
    """End all undo windows."""
    Decision.objects.filter(state="recorded").update(due_at=Now())


def carry_out(message, person, outcome="approve"):
    """Decide, and carry the decision out at once. Return the result of the run."""
    result = decide(message, person, outcome)
    make_due()
    return run_decision(decision_id=result.decision.pk)


def expires(**time):
    """Let all messages expire in this time; a negative one means they have expired."""
    Message.objects.update(expires_at=Now() + timedelta(**time))


def read_all(connection):
    """Read everything that MultiMail holds; return the result."""
    return read_everything(connection_id=connection.pk, now=clock())


def waiting_for_a_lock(database):
    """Wait until some database session waits for a lock."""
    deadline = time.monotonic() + 60
    with database.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
    raise AssertionError("nobody waited")


def in_thread(work):
    """Run `work` in a thread with its own database session. Return the thread and a
    list that will have its result or exception.
    """
    results = []

    def run():
        try:
            results.append(work())
        except Exception as error:  # noqa: BLE001 - whoever waits for it looks at it
            results.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


def at_once(*works):
    """Run each function in a thread with its own database session, all at the same
    time. Return their results or exceptions.
    """
    start = threading.Barrier(len(works))

    def after_barrier(work):
        return lambda: (start.wait(60), work())[1]

    running = [in_thread(after_barrier(work)) for work in works]
    for thread, _ in running:
        thread.join(60)
    return [result for _, results in running for result in results]
