"""What `./run` promises about processes: none is left behind, and a crash needs no hand.

That none stays dead is proved by test_line_survives, on the same product.
"""

import contextlib
import json
import os
import signal
import stat
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from dashboard.launch import environment
from tests.faults.answering import everything_answers, status
from tests.stack import Stack

pytestmark = pytest.mark.xdist_group("launcher")

CHILDREN = ["postgres", "redis", "web", "gateway", "live", "worker-desk", "worker-out", "demo"]
STOP_SECONDS = 4.0


@pytest.fixture
def running(launched: Stack) -> Stack:
    return launched


def test_ctrl_c_leaves_no_process(running: Stack) -> None:
    began = time.monotonic()
    assert running.stop(signal.SIGINT) == 130
    assert time.monotonic() - began < STOP_SECONDS
    assert running.processes() == {}


@pytest.mark.slow
def test_end_of_the_session_leaves_no_process(running: Stack) -> None:
    began = time.monotonic()
    assert running.stop(signal.SIGHUP) == 0
    assert time.monotonic() - began < STOP_SECONDS
    assert running.processes() == {}


def test_kill_of_the_launcher_leaves_no_process(running: Stack) -> None:
    assert running.launcher is not None
    running.launcher.kill()
    running.launcher.wait()
    running.wait_for(lambda: running.processes() == {}, 2, "every process is gone")


def test_kill_of_everything_is_recovered_from_without_a_hand(running: Stack) -> None:
    assert running.launcher is not None
    kept = _lasting(running.credentials)
    # As if it had been down for an hour.
    _sql(running, "UPDATE approvals_connection SET complete_as_of = now() - interval '1 hour' RETURNING id")
    # Stopped first, so that none of them can react to the end of another.
    for signum in (signal.SIGSTOP, signal.SIGKILL):
        for pid in [running.launcher.pid, *running.processes()]:
            # What a server or a worker starts for a moment may be over already.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)
    running.launcher.wait()
    began = datetime.now(UTC)
    running.start()
    assert everything_answers(running)
    assert _lasting(running.credentials) == kept
    # What came and went meanwhile is read at once, not with the next round in half a minute.
    query = "SELECT bool_and(complete_as_of > %s) FROM approvals_connection"
    running.wait_for(lambda: _sql(running, query, began) == [(True,)], 25, "every account to be read")


def _sql(running: Stack, query: str, *parameters: object) -> list[tuple[object, ...]]:
    with psycopg.connect(running.env["DATABASE_OWNER_URL"]) as database:
        return database.execute(query, parameters).fetchall()  # type: ignore[arg-type]


def _lasting(credentials: dict[str, str]) -> dict[str, str]:
    """Addresses change, because the ports are free ones; keys and people do not."""
    return {name: value for name, value in credentials.items() if name.endswith(("_KEY", "_PASSWORD", "_EMAIL", "_ID"))}


def test_second_start_is_refused_with_the_address(running: Stack) -> None:
    second = running.run()
    assert second.returncode == 1
    assert f"runs already: {running.url}" in second.stderr
    assert everything_answers(running)


def test_manage_works_beside_a_run_with_its_servers(running: Stack) -> None:
    code = "from django.db import connection as c; c.ensure_connection(); print(c.settings_dict['HOST'])"
    shown = running.run("manage", "shell", "-v", "0", "-c", code)
    assert shown.stdout.strip() == str(running.data / "sockets"), shown.stderr


def test_stop_verb_ends_a_detached_run(tmp_path_factory: pytest.TempPathFactory) -> None:
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
    assert stack.run("stop").stdout == "Nothing runs.\n"
    assert stack.run("reset").returncode == 1
    assert (stack.data / "postgres").exists()
    assert stack.run("reset", "--yes").returncode == 0
    assert [entry.name for entry in stack.data.iterdir()] == ["run.lock"]


def test_secrets_are_for_the_owner_only(running: Stack) -> None:
    for name in ("secrets.env", "credentials.env", "run.json", "run.lock"):
        assert stat.S_IMODE((running.data / name).stat().st_mode) == 0o600
    for name in ("", "postgres", "sockets", "log"):
        assert stat.S_IMODE((running.data / name).stat().st_mode) & 0o066 == 0


def test_sockets_only_no_server_listens_on_tcp(running: Stack) -> None:
    ports = {int(running.env[name]) for name in environment.PORTS}
    assert _listening_ports(set(running.processes())) <= ports


def _listening_ports(pids: set[int]) -> set[int]:
    sockets, found = set(), set()
    for link in (link for pid in pids for link in Path(f"/proc/{pid}/fd").iterdir()):
        # Short-lived connections come and go while we look; whoever listens stays.
        with contextlib.suppress(FileNotFoundError):
            sockets.add(os.readlink(link))
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as lines:
            for fields in map(str.split, list(lines)[1:]):
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                    found.add(int(fields[1].rpartition(":")[2], 16))
    return found


def test_taken_port_is_named_and_nothing_is_left(running: Stack, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Stack(tmp_path_factory.mktemp("taken"), PORT=running.env["PORT"])
    refused = other.run()
    assert refused.returncode == 1
    assert f"Port {running.env['PORT']} is taken" in refused.stderr
    assert other.processes() == {}


def test_failed_preparation_is_a_sentence(tmp_path_factory: pytest.TempPathFactory) -> None:
    stack = Stack(tmp_path_factory.mktemp("bad"), LOG_FORMAT="xml")
    refused = stack.run()
    assert refused.returncode == 1
    assert "LOG_FORMAT must be one of json, text" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert stack.processes() == {}


@pytest.mark.parametrize(("arguments", "status"), [(["dance"], 2), (["stop", "now"], 2), (["help"], 0)])
def test_verbs_are_told_apart(running: Stack, arguments: list[str], status: int) -> None:
    assert running.run(*arguments).returncode == status


def test_state_names_the_children_but_holds_no_foreign_variable(running: Stack) -> None:
    state = json.loads((running.data / "run.json").read_text())
    assert state["processes"].keys() == set(CHILDREN)
    assert "PATH" not in state["environment"]
    assert "COUNTERSIGN_RUN" not in state["environment"]
