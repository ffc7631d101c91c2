"""A web process and a worker whose clocks jump: leases, due times, expiry and the
ledger go by the database's clock.
"""

import contextlib
import os
import signal
import subprocess
from datetime import timedelta

import pytest

from launcher.environment import pick_free_ports
from launcher.orphans import die_with_parent
from launcher.paths import ROOT
from launcher.processes import Process, http
from tests.desk import Browser
from tests.faults.clock import clock
from tests.faults.proxy import DECIDE
from tests.faults.sender import Sender, assert_stored_once, event
from tests.faults.wire import Hold

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]

HOUR = 3600
DAY = 86400
# A difference of so many seconds is no jump, even on a busy machine.
NEAR = HOUR / 4


@contextlib.contextmanager
def extra_process(desk, plan, **variables):
    """Run one more process of the desk, as another host would."""
    parent = os.getpid()
    environment = {**os.environ, **desk.stack.env, **plan.environment, **variables}
    with (desk.stack.data / "log" / f"{plan.name}.log").open("wb") as log:
        process = subprocess.Popen(
            plan.command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(signal.SIGKILL, parent=parent),
        )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


@contextlib.contextmanager
def giving_up(desk):
    """Give up the claims of a process that is stopped in the block."""
    yield
    desk.give_up_unacked()


@pytest.fixture
def elsewhere(desk, tmp_path):
    """A host with its own clock, whose web process and worker do all the work; yields
    its address.
    """
    port = pick_free_ports(1)[0]
    url = f"http://127.0.0.1:{port}"
    with clock(tmp_path) as hands:
        web = http("web-elsewhere", port=port, serve="dashboard", path="/readyz")
        command = (
            *web.command[:1],
            "-m",
            "dashboard.worker",
            "elsewhere",
            "decisions,sync",
            "4",
        )
        worker = Process(
            name="worker-elsewhere", command=command, environment={"BEAT": "dashboard"}
        )
        with (
            giving_up(desk),
            extra_process(desk, web, **hands.variables),
            extra_process(desk, worker, **hands.variables),
        ):
            desk.wait(
                lambda: (
                    Sender(url + _path(desk), desk.known["WEBHOOK_SECRET"])
                    .post(event())
                    .ok
                ),
                "the web process",
            )
            desk.stack.kill("worker-desk", signal.SIGSTOP)
            # Its unfinished work stays until it continues.
            desk.give_up_unacked()
            try:
                yield hands, url
            finally:
                hands.step(0)
                desk.stack.kill("worker-desk", signal.SIGCONT)
                # For a host that is a day ahead, today's sessions have expired.
                desk.forget_sessions()


def _path(desk):
    return desk.known["WEBHOOK_URL"].removeprefix(desk.known["DASHBOARD_URL"])


def seconds_off(desk, query, *parameters):
    """Return the difference of a time in the database to the database's own clock."""
    [row] = desk.sql(
        f"SELECT abs(extract(epoch FROM clock_timestamp() - ({query}))) AS off",
        *parameters,
    )
    return row["off"]


def a_day_ahead_ends_no_lease(desk, hands):
    held = desk.hold()
    hold = Hold()
    # Leftover work must not delay the sweep until the call itself times out.
    desk.wait_for_idle()
    with desk.upstream.fault(hold, DECIDE, held.upstream_id):
        assert desk.decide(held) == 302
        hold.wait()
        hands.step(DAY)
        desk.sweep()
        desk.wait_for_idle(but=1)
        assert desk.decision(held)["state"] == "calling"
        assert desk.decision(held)["attempt"] == 1
        hold.release()
        desk.wait_for_decision(held, "applied")
    assert desk.calls(held) == 1


def test_jumping_clock_neither_stops_nor_hurries_anything(desk, elsewhere):
    hands, url = elsewhere
    a_day_ahead_ends_no_lease(desk, hands)
    hands.step(0)
    waits = desk.hold()
    desk.sql(
        "UPDATE mirror_message SET expires_at = now() + interval '2 hours' WHERE public_id = %s",
        waits.id,
    )
    over = desk.hold()
    sender = Sender(url + _path(desk), desk.known["WEBHOOK_SECRET"])
    for jump in (HOUR, -HOUR, DAY, -DAY):
        hands.step(jump)
        body = event()
        sender.post_until_accepted(body)
        assert_stored_once(desk, [body])
        held = desk.hold()
        assert (
            seconds_off(
                desk, "SELECT held_at FROM mirror_message WHERE public_id = %s", held.id
            )
            < NEAR
        )
        ana = Browser(
            url, desk.known["REVIEWER_EMAIL"], desk.known["REVIEWER_PASSWORD"]
        )
        assert ana.decide(held.id, "approve", held.fingerprint).status_code == 302
        desk.wait_for_decision(held, "applied")
        assert desk.decision(waits) == {}, "it is not over by the database's clock"
    # A message that expired by database time is settled although this clock is a day
    # behind.
    desk.sql(
        "UPDATE mirror_message SET expires_at = now() - interval '1 second' WHERE public_id = %s",
        over.id,
    )
    desk.wait_for_decision(over, "applied")
    assert desk.decision(over)["rule"] == "expiry"
    assert desk.decision(over)["outcome"] == "reject"
    newest = "SELECT max(at) FROM audit_entry"
    assert seconds_off(desk, newest) < NEAR
    disorder = (
        "SELECT count(*) AS n FROM (SELECT at - lag(at) OVER (ORDER BY xid, id) AS step FROM audit_entry) AS steps "
        "WHERE step < %s"
    )
    assert desk.sql(disorder, timedelta(seconds=-20)) == [{"n": 0}]
