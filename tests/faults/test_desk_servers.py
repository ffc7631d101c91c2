"""PostgreSQL, Redis or another MultiMail account are away or full: what was acknowledged
stays, the rest is redone, others are served.
"""

import contextlib
import signal
import time
import uuid
from pathlib import Path

import psutil
import psycopg
import pytest
import requests

from tests.faults import wire
from tests.faults.proxy import DECIDE, READ, WEBHOOK
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
        answer = desk.approve_from(page, held)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"].isdecimal()
        assert "The database is not responding" in answer.text
    for body in bodies:
        sender.post_until_accepted(body)
    assert_stored_once(desk, bodies)
    assert desk.decision(held) == {}
    assert desk.decide(held) == 302
    desk.wait_for_decision(held, "applied")


def sessions_of(desk):
    [row] = desk.sql("SELECT count(*) AS number FROM pg_stat_activity")
    return row["number"]


@contextlib.contextmanager
def silent_postgresql(desk):
    """Stop all of its processes, as if their machine hung."""

    def signal_all(signum):
        server = psutil.Process(desk.stack.pids()["postgres"])
        for process in (server, *server.children()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signum)

    signal_all(signal.SIGSTOP)
    try:
        yield
    finally:
        signal_all(signal.SIGCONT)


def test_silent_database_costs_nobody_a_process_and_gives_its_slots_back(desk):
    held = desk.hold()
    page = desk.ana.get(f"/queue/{held.id}/")
    processes, before = desk.stack.pids(), sessions_of(desk)
    # The launcher would have killed after three silent checks, 20 seconds apart.
    ends = time.monotonic() + 70
    with silent_postgresql(desk):
        answer = desk.approve_from(page, held)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"].isdecimal()
        while time.monotonic() < ends:
            assert readiness(desk)[1]["postgresql"] is False
            answer = desk.product.call("GET", "/v1/mailboxes", key="READ_KEY")
            assert answer.status_code == 503
            assert answer.headers["Retry-After"].isdecimal()
    desk.wait(lambda: readiness(desk)[0] == 200, "the desk to be ready")
    assert desk.stack.pids() == processes
    assert sessions_of(desk) < before + 10
    # What was not answered may have been done, and is done once.
    desk.wait(
        lambda: desk.decision(held) or desk.decide(held) == 302, "a decision to stand"
    )
    desk.wait_for_decision(held, "applied")


def doctor(desk):
    """Return what `doctor` says, as one line."""
    return " ".join(desk.stack.run("manage", "doctor").stdout.split())


def readiness(desk):
    answer = requests.get(f"{desk.stack.url}/readyz", timeout=30)
    return answer.status_code, answer.json()["parts"]


@contextlib.contextmanager
def standby(desk):
    """Have PostgreSQL take no changes, as a standby does, in new and old sessions."""
    with psycopg.connect(desk.stack.env["DATABASE_OWNER_URL"]) as owner:
        owner.autocommit = True
        name = owner.info.dbname
        end_sessions = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = %s AND pid <> pg_backend_pid()"
        )
        owner.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        owner.execute(end_sessions, [name])
        try:
            yield
        finally:
            owner.execute("SET default_transaction_read_only = off")
            owner.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
            owner.execute(end_sessions, [name])


def test_database_that_takes_no_changes_is_said_and_nothing_is_lost(desk):
    held = desk.hold()
    page = desk.ana.get(f"/queue/{held.id}/")
    with standby(desk):
        assert desk.ana.get("/queue/").status_code == 200
        answers = [
            desk.approve_from(page, held),
            desk.product.call(
                "POST",
                "/v1/oversight/decide",
                key="OVERSIGHT_KEY",
                json={"email_id": held.upstream_id, "action": "approve"},
            ),
        ]
        for answer in answers:
            assert answer.status_code == 503
            assert answer.headers["Retry-After"].isdecimal()
            assert "takes no changes" in answer.text
        status, parts = readiness(desk)
        assert (status, parts["postgresql"]) == (503, False)
        # As after two minutes.
        with psycopg.connect(desk.stack.env["DATABASE_OWNER_URL"]) as owner:
            owner.execute("SET default_transaction_read_only = off")
            owner.commit()
            owner.execute("UPDATE dashboard_tick SET at = at - interval '2 minutes'")
        said = doctor(desk)
        assert "PostgreSQL takes no changes" in said
        assert "No worker" not in said
    assert desk.decision(held) == {}
    desk.wait(lambda: desk.decide(held) == 302, "the desk to take a verdict")
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
        """Until a transaction of the product that has changed a decision waits for the
        table.
        """
        query = (
            "SELECT count(*) AS n FROM pg_locks one JOIN pg_locks other USING (pid) "
            "WHERE NOT one.granted AND one.relation = %s::regclass AND other.granted "
            "AND other.mode = 'RowExclusiveLock' AND other.relation = 'approvals_decision'::regclass"
        )
        self.desk.wait(
            lambda: self.desk.sql(query, self.table)[0]["n"],
            f"somebody to wait for {self.table}",
        )

    def close(self):
        self.session.rollback()
        self.session.close()


def deadlocks(desk):
    return desk.sql(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )[0]["deadlocks"]


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
        hostile = Hostile(desk, "audit_entry")
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


@pytest.fixture(autouse=True)
def _wait_for_no_dead_worker(desk):
    """A worker stops when Redis refuses writes, and its tasks are redelivered only
    after some minutes.
    """
    yield
    desk.give_up_unacked()


@contextlib.contextmanager
def hanging(desk):
    desk.stack.kill("redis", signal.SIGSTOP)
    try:
        yield
    finally:
        desk.stack.kill("redis", signal.SIGCONT)


@contextlib.contextmanager
def gone(desk):
    """Make its address unreachable, and cut open connections."""
    socket = Path(desk.stack.data / "sockets" / "redis.sock")
    desk.redis.ping()
    away = socket.rename(socket.with_name("away.sock"))
    try:
        for kind in ("normal", "pubsub"):
            desk.redis.client_kill_filter(_type=kind, skipme=True)
        yield
    finally:
        away.rename(socket)


@contextlib.contextmanager
def read_only(desk):
    desk.redis.replicaof("127.0.0.1", 1)
    try:
        yield
    finally:
        desk.redis.replicaof("NO", "ONE")


@contextlib.contextmanager
def out_of_memory(desk):
    desk.redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        desk.redis.config_set("maxmemory", 0)


def test_redis_away_costs_neither_webhook_nor_decision(desk):
    for way in (gone, hanging, read_only, out_of_memory):
        sender = Sender.of(desk)
        held = desk.hold()
        bodies = [event() for _ in range(3)]
        page = desk.ana.get(f"/queue/{held.id}/")
        with way(desk):
            for body in bodies:
                assert sender.post(body).status_code == 200, way.__name__
            assert desk.approve_from(page, held).status_code == 302, way.__name__
            assert desk.decision(held)["outcome"] == "approve"
            upstream_id, subject = desk.product.send()
        assert_stored_once(desk, bodies)
        # Only the worker itself sweeps here.
        desk.wait_for_decision(held, "applied")
        assert desk.shown(upstream_id, subject).fingerprint
        desk.give_up_unacked()


def test_redis_that_stores_nothing_is_named_as_the_one_cause(desk):
    for way in (read_only, out_of_memory):
        with way(desk):
            status, parts = readiness(desk)
            assert (status, parts["redis"]) == (503, False), way.__name__
            # As after two minutes.
            desk.sql("UPDATE dashboard_tick SET at = at - interval '2 minutes'")
            said = doctor(desk)
            assert "Redis stores nothing" in said
            assert "No worker" not in said
        desk.give_up_unacked()


# The worker that executes decisions.
THREADS = 8
# Another MultiMail account, connected without a proxy.
CONNECT = """
import io, re
from django.core.management import call_command
from mirror.models import Connection
out = io.StringIO()
call_command("gateway_account", name="Neighbour", stdout=out)
made = dict(re.findall(r"^([a-z ]+?)  +(\\S+)", out.getvalue(), re.M))
connection = Connection.objects.create(
    slug="neighbour", name="Neighbour", api_url={url!r}, webhook_secret="whsec_neighbour_secret",
    oversight_key=made["oversight"], is_our_gateway=True)
result = {{**made, "webhook_id": connection.webhook_id}}
"""


@pytest.fixture(scope="module")
def neighbour(desk_of_its_own):
    """The keys of the other account, whose webhooks reach the desk."""
    made = desk_of_its_own.python(
        CONNECT.format(url=desk_of_its_own.known["GATEWAY_URL"])
    )
    desk_of_its_own.known |= {
        "NEIGHBOUR_KEY": made["agent"],
        "NEIGHBOUR_ADMIN_KEY": made["admin"],
    }
    body = {
        "url": f"{desk_of_its_own.hooks.url}/webhooks/multimail/{made['webhook_id']}/",
        "events": [
            "oversight.pending",
            "oversight.approved",
            "oversight.rejected",
            "message.sent",
        ],
        "secret": "whsec_neighbour_secret",
    }
    answer = desk_of_its_own.product.call(
        "POST", "/v1/webhooks", key="NEIGHBOUR_ADMIN_KEY", json=body
    )
    assert answer.status_code == 201, answer.text
    return made


def neighbour_decides(desk):
    """Send a message of the other account, approve it, and wait for its effect."""
    subject = f"Neighbour {uuid.uuid4().hex[:10]}"
    body = {
        "from": "agent@neighbour.example",
        "to": "dana@northwind.example",
        "subject": subject,
        "body": "Hello",
    }
    answer = desk.product.call("POST", "/v1/send_email", key="NEIGHBOUR_KEY", json=body)
    assert answer.status_code == 202, answer.text
    held = desk.shown(answer.json()["message_id"], subject)
    desk.sql(
        "UPDATE mirror_mailbox SET undo_window = '0' WHERE address = 'agent@neighbour.example'"
    )
    assert desk.decide(held) == 302
    desk.wait_for_decision(held, "applied")


def test_slow_connection_does_not_hold_up_its_neighbour(desk, neighbour):
    slow = [desk.hold() for _ in range(THREADS + 1)]
    stop = wire.Gate()
    try:
        with desk.upstream.fault(stop, kind=READ):
            for held in slow:
                assert desk.decide(held, "reject") == 302
            stop.wait()
            # While all of those hang.
            neighbour_decides(desk)
    finally:
        stop.open()
    for held in slow:
        desk.let_fall_due(held)
    for held in slow:
        desk.sweep_to(held, "applied")
