"""The disk is full: no decision goes unrecorded, pages say so, and work resumes when
there is space again.
"""

import contextlib
import os
import signal
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
import requests

from tests.faults.answering import everything_answers
from tests.faults.desk_rig import desk_rig
from tests.faults.invariants import check_invariants
from tests.faults.proxy import DECIDE
from tests.faults.sender import Sender, assert_stored_once, event
from tests.faults.small_disks import small_disk
from tests.prepared import preparing
from tests.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("small disk")]

SIZE = "256m"
KILLED = ("worker-desk", "redis", "web", "postgres")


@contextlib.contextmanager
def running_on_small_disk(tmp_path_factory, **variables):
    stack = Stack(tmp_path_factory.mktemp("small"), **variables)
    with small_disk(stack.data, SIZE):
        preparing.copy_to(stack.data / "postgres")
        # As an earlier run would have left it.
        (stack.data / "run.lock").touch(mode=0o600)
        try:
            yield stack.start()
        finally:
            if stack.is_running():
                assert stack.stop() == 130
                assert stack.processes() == {}


@contextlib.contextmanager
def full(desk):
    """Fill the disk, and keep it full: space that a cleaning process frees is used too."""
    filler = desk.stack.data / "filler"
    block = b"x" * 4096

    def fill():
        with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(block * 256 if _free_bytes(filler) > 1 << 21 else block)

    fill()
    try:
        yield fill
    finally:
        filler.unlink()


def _free_bytes(path):
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


@pytest.fixture(scope="module")
def small_desk(tmp_path_factory):
    with desk_rig(tmp_path_factory, running=running_on_small_disk) as desk:
        yield desk


@pytest.fixture
def desk(small_desk):
    """The product on a small disk, without messages of earlier tests."""
    small_desk.mine = []
    return small_desk


def test_full_disk_decides_nothing_unwritten_and_recovers(desk):
    sender = Sender.of(desk)
    messages = [desk.hold() for _ in range(4)]
    pages = [desk.ana.get(f"/queue/{held.id}/") for held in messages]
    desk.stack.kill("worker-desk", signal.SIGSTOP)
    assert [desk.decide(held) for held in messages[:2]] == [302, 302]
    with full(desk) as fill:
        refused = until_refused(desk, sender, fill)
        answers = [
            desk.approve_from(page, held).status_code
            for held, page in zip(messages[2:], pages[2:], strict=True)
        ]
        desk.stack.kill("worker-desk", signal.SIGCONT)
        still = [event() for _ in range(20)]
        refused += [body for body in still if not is_accepted(sender, body)]
        assert_it_reads_and_says_so(desk, fill)
        called = [
            held
            for held in messages
            if desk.upstream.requests(DECIDE, held.upstream_id)
        ]
    desk.wait(lambda: desk.sql("SELECT 1"), "PostgreSQL to answer", timeout=60)
    for held in called:
        assert desk.entries(held, "decision.calling"), (
            "called without a word in the ledger"
        )
    for held, status in zip(messages[2:], answers, strict=True):
        recorded = len(desk.entries(held, "decision.recorded"))
        assert (status == 302) == bool(desk.decision(held)) == bool(recorded), (
            f"{status}, {recorded} entries"
        )
    accepted = [body for body, status in sender.answers if status == 200]
    for body in refused:
        sender.post_until_accepted(body)
    assert_stored_once(desk, list(dict.fromkeys([*accepted, *refused])))
    for held in messages:
        if not desk.decision(held):
            assert desk.decide(held) == 302
    desk.sweep_until(
        lambda: all(ended(desk, held) for held in messages),
        "every decision to end",
        timeout=60,
    )
    check_invariants(desk)


def assert_it_reads_and_says_so(desk, fill):
    """Assert that reading works, under a banner, and that health and the doctor name
    the disk.
    """
    queue = desk.ana.get("/queue/")
    assert queue.status_code == 200
    assert "The disk is full." in queue.text
    ready = desk.ana.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["parts"]["disk"] is False
    assert ready.json()["parts"]["postgresql"] is True

    def is_named():
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(desk.stack.run, "manage", "doctor")
            # PostgreSQL and Redis may free space while it looks.
            while not asked.done():
                fill()
                wait([asked], timeout=0.05)
        report = asked.result()
        assert "The disk of DATA_DIR is full" in report.stdout, report.stdout
        # PostgreSQL may restart at any moment on a full disk, and cannot end that without
        # space; the doctor cannot examine the desk then.
        is_down = "PostgreSQL is not responding" in report.stdout
        assert report.returncode == (3 if is_down else 2), report.stdout
        return True

    desk.wait(is_named, "the doctor to name the disk", timeout=60)


def test_process_that_dies_on_a_full_disk_restarts_when_there_is_space(desk):
    held = desk.hold()
    before = desk.stack.pids()
    desk.stack.kill("worker-desk", signal.SIGSTOP)
    assert desk.decide(held) == 302
    with full(desk) as fill:
        for name in KILLED:
            desk.stack.kill(name)
            fill()
        noticed = [f"{name} ended" for name in KILLED]
        desk.wait(
            lambda: all(line in desk.stack.output.read_text() for line in noticed),
            "the launcher to notice",
        )
        # PostgreSQL may find the two blocks that its lock files need to start.
        desk.wait(
            lambda: "The disk is full" in desk.ana.get("/queue/").text,
            "the desk to say why",
        )
    desk.wait(
        lambda: everything_answers(desk.stack), "everything to answer", timeout=60
    )
    assert desk.stack.is_running()
    # What runs is written down once there is room.
    desk.wait(
        lambda: set(KILLED) <= set(desk.stack.pids()),
        "the new processes to be written down",
        timeout=60,
    )
    after = desk.stack.pids()
    assert not [name for name in KILLED if after[name] == before[name]]
    # Its call may have met the full disk of the gateway; then the reviewer confirms
    # that it goes out again.
    desk.bring_to_end(held)
    # So may its attempt to send: what the mail server answered is lost then.
    check_invariants(desk, fate_may_be_unknown=True)


def is_accepted(sender, body):
    with contextlib.suppress(requests.RequestException):
        return sender.post(body).status_code == 200
    return False


def until_refused(desk, sender, fill):
    """Post until the free space of the tables is used up; return the refused bodies,
    the first with its answer.
    """
    refused = []
    for _ in range(400):
        fill()
        body = event(padding="x" * 20_000)
        answer = sender.post(body)
        if answer.status_code != 200:
            assert answer.status_code == 503
            assert answer.headers["Retry-After"].isdecimal()
            refused.append(body)
        if len(refused) == 5:
            return refused
    raise AssertionError("the disk does not get full")


def ended(desk, held):
    desk.let_stuck_lease_end(held)
    desk.let_settle(held)
    return desk.decision(held)["state"] == "applied"
