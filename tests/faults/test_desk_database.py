"""PostgreSQL dies, runs out of sessions, or aborts transactions: acknowledged work
stays, the rest is redone.
"""

import contextlib
import threading

import psycopg
import pytest

from tests.faults.proxy import DECIDE, WEBHOOK
from tests.faults.sender import Sender, assert_stored_once, event
from tests.faults.wire import Hold, answering

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]


@contextlib.contextmanager
def every_session(desk):
    """Hold all sessions of the application; the product's own are terminated."""
    with (
        contextlib.ExitStack() as sessions,
        psycopg.connect(desk.stack.env["DATABASE_OWNER_URL"]) as owner,
    ):
        owner.autocommit = True
        mine = []

        def fill():
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    session = sessions.enter_context(
                        psycopg.connect(desk.stack.env["DATABASE_URL"])
                    )
                    mine.append(session.info.backend_pid)

        theirs = (
            "FROM pg_stat_activity WHERE usename = 'countersign' AND NOT pid = ANY(%s)"
        )

        def are_gone():
            return owner.execute(f"SELECT count(*) {theirs}", [mine]).fetchone() == (0,)

        def only_mine():
            owner.execute(f"SELECT pg_terminate_backend(pid) {theirs}", [mine])
            fill()
            if not are_gone():
                return False
            # A session that has just ended may have freed a slot after the last try.
            seen = len(mine)
            fill()
            return len(mine) == seen and are_gone()

        fill()
        desk.wait(only_mine, "all sessions to be ours")
        yield


def test_exhausted_connections_are_reported_at_once_and_recover_automatically(desk):
    sender = Sender.of(desk)
    held = desk.hold()
    bodies = [event() for _ in range(5)]
    page = desk.ana.get(f"/queue/{held.id}/")
    with every_session(desk):
        for body in bodies:
            answer = sender.post(body)
            assert answer.status_code == 503
            assert answer.headers["Retry-After"].isdecimal()
        fields = {"outcome": "approve", "fingerprint": held.fingerprint, "reason": ""}
        answer = desk.ana.post(f"/queue/{held.id}/verdict/", page, **fields)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"].isdecimal()
        assert "The database is not responding" in answer.text
    for body in bodies:
        sender.post_until_accepted(body)
    assert_stored_once(desk, bodies)
    assert desk.decision(held) == {}
    assert desk.decide(held) == 302
    desk.wait_for_decision(held, "applied")


class Hostile:
    """A session that locks rows in the other order, and is never the one that
    PostgreSQL aborts.
    """

    def __init__(self, desk, table):
        self.desk = desk
        self.table = table
        self.session = psycopg.connect(desk.stack.env["DATABASE_OWNER_URL"])
        self.session.execute("SET deadlock_timeout = '1min'")
        self.session.execute(f"LOCK TABLE {table} IN SHARE MODE")

    def wait(self):
        """Until a transaction of the product waits for the table."""
        query = "SELECT count(*) AS n FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
        self.desk.wait(
            lambda: self.desk.sql(query, self.table)[0]["n"],
            f"somebody to wait for {self.table}",
        )

    def turn(self, held):
        """Want the message that the product has locked: now each waits for the other,
        until PostgreSQL ends one.
        """
        self.session.execute(
            "SELECT 1 FROM mirror_message WHERE public_id = %s FOR UPDATE", [held.id]
        )

    def close(self):
        self.session.rollback()
        self.session.close()


def in_thread(function, *arguments):
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(function(*arguments)), daemon=True
    )
    thread.start()
    return thread, answers


def decide_on_its_page(desk, held, outcome, who):
    """Decide; a transaction that is aborted several times in a row asks the person to
    try again.
    """
    return desk.wait(lambda: desk.decide(held, outcome, who), "the page with its form")


def deadlocks(desk):
    return desk.sql(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )[0]["deadlocks"]


def test_deadlocked_verdict_counts_once(desk):
    held = desk.hold()
    before = deadlocks(desk)
    desk.ana.get(f"/queue/{held.id}/")
    hostile = Hostile(desk, "approvals_verdict")
    try:
        thread, answers = in_thread(desk.decide, held)
        hostile.wait()
        hostile.turn(held)
    finally:
        hostile.close()
    thread.join(120)
    desk.wait(lambda: deadlocks(desk) > before, "PostgreSQL to count the deadlock")
    assert answers == [302]
    desk.wait_for_decision(held, "applied")


def test_deadlock_at_the_end_of_a_call_leaves_one_effect(desk):
    held = desk.hold()
    hold = Hold(after_answer=True)
    before = deadlocks(desk)
    with (
        desk.hooks.fault(answering(200), WEBHOOK, held.upstream_id),
        desk.upstream.fault(hold, DECIDE, held.upstream_id),
    ):
        assert desk.decide(held) == 302
        hold.wait()
        hostile = Hostile(desk, "approvals_decisionattempt")
        try:
            hold.release()
            hostile.wait()
            hostile.session.execute(
                "SELECT 1 FROM approvals_decision WHERE id = %s FOR UPDATE",
                [desk.decision(held)["id"]],
            )
        finally:
            hostile.close()
        desk.wait(lambda: deadlocks(desk) > before, "PostgreSQL to count the deadlock")
        desk.wait_for_decision(held, "applied")
    assert desk.calls(held) == 1


def test_serialization_failure_leaves_one_decision(desk):
    messages = [desk.hold() for _ in range(3)]
    sender = Sender.of(desk)
    level = "ALTER ROLE countersign SET default_transaction_isolation = '{}'"
    again = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'countersign'"
    for held in messages:
        desk.ana.get(f"/queue/{held.id}/"), desk.ben.get(f"/queue/{held.id}/")
    desk.sql(level.format("serializable"))
    desk.sql(again)
    try:
        with sender.traffic(threads=2) as accepted:
            for held in messages:
                first, ana = in_thread(
                    decide_on_its_page, desk, held, "approve", "REVIEWER"
                )
                second, ben = in_thread(
                    decide_on_its_page, desk, held, "reject", "REVIEWER2"
                )
                first.join(120), second.join(120)
                assert sorted(ana + ben) == [302, 409]
            seen = len(accepted)
            desk.wait(lambda: len(accepted) > seen + 5, "webhooks to be taken")
        desk.bring_to_end(*messages, states=("applied", "superseded"))
        for held in messages:
            desk.wait(
                lambda held=held: (
                    desk.mails(held) == (desk.email(held)["decision"] == "approved")
                ),
                "the mails",
            )
    finally:
        desk.sql(level.format("read committed"))
        desk.sql(again)
    assert_stored_once(desk, accepted)
