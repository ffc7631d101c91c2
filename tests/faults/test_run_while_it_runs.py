"""What `./run` promises while it runs, tested next to the shared product."""

import contextlib
import json
import os
import stat
from pathlib import Path

import pytest

from launcher import environment
from tests.faults.answering import everything_answers

pytestmark = pytest.mark.xdist_group("stack")

CHILDREN = "postgres redis parser web gateway live worker-desk worker-out demo".split()


def test_secrets_are_for_the_owner_only_and_the_state_holds_no_foreign_variable(stack):
    for name in ("secrets.env", "credentials.env", "run.json", "run.lock"):
        assert stat.S_IMODE((stack.data / name).stat().st_mode) == 0o600
    for name in ("", "postgres", "sockets", "log"):
        assert stat.S_IMODE((stack.data / name).stat().st_mode) & 0o066 == 0
    state = json.loads((stack.data / "run.json").read_text())
    assert state["processes"].keys() == set(CHILDREN)
    assert not {"PATH", "COUNTERSIGN_RUN"} & state["environment"].keys()


def test_sockets_only_no_server_listens_on_tcp(stack):
    ports = {int(stack.env[name]) for name in environment.PORTS}
    assert _listening_ports(set(stack.processes())) <= ports


def _listening_ports(pids):
    sockets = set()
    found = set()
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


@pytest.mark.slow
def test_second_start_is_refused_by_name(stack):
    second = stack.run()
    assert second.returncode == 1
    assert f"is already running: {stack.url}" in second.stderr
    assert everything_answers(stack)
