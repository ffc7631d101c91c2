"""What `./run` promises about processes: none is left behind, and a crash needs no
hand.

That none stays dead is proved by test_line_survives, on the same product.
"""

import contextlib
import os
import signal
from datetime import UTC, datetime

import psycopg
import pytest

from tests.faults.answering import everything_answers, status
from tests.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("launcher")]


def test_end_of_the_session_leaves_no_process(launched):
    # Ctrl-C is tested when each product of the tests stops.
    assert launched.stop(signal.SIGHUP) == 0
    assert launched.processes() == {}


def test_kill_of_the_launcher_leaves_no_process(launched):
    launched.launcher.kill()
    launched.launcher.wait()
    launched.wait_for(lambda: launched.processes() == {}, 60, "every process is gone")


def test_kill_of_everything_is_recovered_from_without_a_hand(launched):
    before = _lasting(launched.credentials)
    # As if it had been down for an hour.
    _sql(
        launched,
        "UPDATE mirror_connection SET complete_as_of = now() - interval '1 hour' RETURNING id",
    )
    # Stopped first, so that none of them reacts to the end of another.
    for signum in (signal.SIGSTOP, signal.SIGKILL):
        for pid in [launched.launcher.pid, *launched.processes()]:
            # What a server or a worker starts for a moment may be over already.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)
    launched.launcher.wait()
    began = datetime.now(UTC)
    launched.start()
    assert everything_answers(launched)
    assert _lasting(launched.credentials) == before
    # Changes during the outage are read at once, not with the next round in half a
    # minute.
    query = "SELECT bool_and(complete_as_of > %s) FROM mirror_connection"
    launched.wait_for(
        lambda: _sql(launched, query, began) == [(True,)],
        120,
        "every account to be read",
    )


def _sql(launched, query, *parameters):
    with psycopg.connect(launched.env["DATABASE_OWNER_URL"]) as database:
        return database.execute(query, parameters).fetchall()


def _lasting(credentials):
    """Return what survives a restart: keys and people; addresses change with the free
    ports.
    """
    return {
        name: value
        for name, value in credentials.items()
        if name.endswith(("_KEY", "_PASSWORD", "_EMAIL", "_ID"))
    }


def test_stop_verb_ends_a_detached_run(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("detached"), DEMO="0")
    try:
        detached = stack.run("--detach")
        assert detached.returncode == 0, detached.stderr
        assert detached.stdout.startswith("ready http://127.0.0.1:")
        assert "first_admin" in detached.stdout
        assert status(f"{stack.url}/readyz") == 200
    finally:
        stopped = stack.run("stop")
    assert stopped.returncode == 0, stopped.stderr
    assert stack.processes() == {}
    # And a second time there is nothing to stop; to delete there is.
    assert stack.run("stop").stdout == "Nothing is running.\n"
    assert stack.run("reset").returncode == 1
    assert (stack.data / "postgres").exists()
    assert stack.run("reset", "--yes").returncode == 0
    assert [entry.name for entry in stack.data.iterdir()] == ["run.lock"]


def test_failed_preparation_is_a_sentence(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("bad"), LOG_FORMAT="xml")
    refused = stack.run()
    assert refused.returncode == 1
    assert "LOG_FORMAT must be one of json, text" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert stack.processes() == {}
