"""PostgreSQL's disk is full: nothing is decided that is not written down, and all goes on when there is room again."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import pytest
import requests

from dashboard.launch.postgres import Postgres
from tests.faults.desk_rig import desk_rig
from tests.faults.invariants import check_invariants
from tests.faults.proxy import DECIDE
from tests.faults.sender import Sender, assert_kept_once, event
from tests.stack import Stack

pytestmark = pytest.mark.slow

SIZE = "160m"
# A file system of the run's own, which ends with it. A fresh cluster lies there when ./run comes.
_MOUNT = 'mount -t tmpfs -o size={size},mode=700 none "$0" && cp -a "$1/." "$0" && shift && exec "$@"'


def made_cluster(folder):
    """The data folder of a PostgreSQL that was started once and stopped."""
    for name in ("made", "sockets"):
        (folder / name).mkdir(mode=0o700)
    server = Postgres(data=folder / "made", sockets=folder / "sockets", log=folder / "made.log", durable=False)
    server.start()
    server.stop()
    return folder / "made"


def may_mount(folder):
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "none", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@contextlib.contextmanager
def running_on_small_disk(tmp_path_factory, **variables):
    folder = tmp_path_factory.mktemp("small")
    if not may_mount(folder):
        pytest.skip("A full disk needs a small file system, and this machine lets nobody mount one.")
    stack = Stack(folder, **variables)
    place = stack.data / "postgres"
    place.mkdir(parents=True, mode=0o700)
    # As a run before this one would have left it.
    (stack.data / "run.lock").touch(mode=0o600)
    stack.before = ["unshare", "-m", "sh", "-c", _MOUNT.format(size=SIZE), str(place), str(made_cluster(folder))]
    try:
        yield stack.start()
    finally:
        if stack.is_running():
            stack.stop()


@contextlib.contextmanager
def full(desk):
    """Fill what is left of the disk, and keep it full: what a cleaning process gives back is taken too."""
    # The launcher's own view of the file system, in which alone the small one is mounted.
    filler = Path(f"/proc/{desk.stack.launcher.pid}/root{desk.stack.data}/postgres/filler")
    block = b"x" * 4096

    def fill():
        with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(block * 256 if _room(filler) > 1 << 21 else block)

    fill()
    try:
        yield fill
    finally:
        filler.unlink()


def _room(path):
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


@pytest.mark.fault(
    28,
    injected="PostgreSQL's data lies on a tmpfs of 160 MB in a mount namespace, which is filled to the last block.",
    held="Webhooks are answered 503, no decide call goes out without its entry; with room again all of it goes on.",
)
def test_full_disk_decides_nothing_unwritten_and_recovers(tmp_path_factory):
    with desk_rig(tmp_path_factory, running=running_on_small_disk) as desk:
        sender, messages = Sender.of(desk), [desk.hold() for _ in range(4)]
        pages = [desk.ana.get(f"/queue/{held.id}/") for held in messages]
        desk.stack.kill("worker-desk", signal.SIGSTOP)
        assert [desk.decide(held) for held in messages[:2]] == [302, 302]
        with full(desk) as fill:
            refused = until_refused(desk, sender, fill)
            answers = []
            for held, page in zip(messages[2:], pages[2:], strict=True):
                fields = {"outcome": "approve", "fingerprint": held.fingerprint, "reason": ""}
                answers.append(desk.ana.post(f"/queue/{held.id}/verdict/", page, **fields).status_code)
            desk.stack.kill("worker-desk", signal.SIGCONT)
            still = [event() for _ in range(20)]
            refused += [body for body in still if not taken(sender, body)]
            called = [held for held in messages if desk.upstream.requests(DECIDE, held.upstream_id)]
        desk.wait(lambda: desk.sql("SELECT 1"), "PostgreSQL to answer", timeout=60)
        for held in called:
            assert desk.entries(held, "decision.calling"), "called without a word in the ledger"
        for held, status in zip(messages[2:], answers, strict=True):
            recorded = len(desk.entries(held, "decision.recorded"))
            assert (status == 302) == bool(desk.decision(held)) == bool(recorded), f"{status}, {recorded} entries"
        accepted = [body for body, status in sender.answers if status == 200]
        for body in refused:
            sender.post_until_taken(body)
        assert_kept_once(desk, list(dict.fromkeys([*accepted, *refused])))
        for held in messages:
            if not desk.decision(held):
                assert desk.decide(held) == 302
        desk.sweep_until(lambda: all(ended(desk, held) for held in messages), "every decision to end", timeout=60)
        check_invariants(desk)


def taken(sender, body):
    with contextlib.suppress(requests.RequestException):
        return sender.post(body).status_code == 200
    return False


def until_refused(desk, sender, fill):
    """Post until the room that tables had left is used up; return what was refused, the first with its answer."""
    refused = []
    for _ in range(400):
        fill()
        body = event(padding="x" * 20_000)
        answer = sender.post(body)
        if answer.status_code != 200:
            assert (answer.status_code, answer.headers["Retry-After"].isdecimal()) == (503, True)
            refused.append(body)
        if len(refused) == 5:
            return refused
    raise AssertionError("the disk does not get full")


def ended(desk, held):
    desk.let_lease_end(held)
    desk.let_settle(held)
    return desk.decision(held)["state"] == "applied"
