"""A process whose work loop stops is ended and started again by the launcher."""

import os
import signal
import sys

import pytest
import requests

from launcher.child import SILENT_LOOKS, Child, Heartbeat
from launcher.processes import Process
from tests.stack import Stack, wait_for

LOOP = "import time; from common.heartbeat import beat\nwhile True: beat(); time.sleep(0.01)"


def test_child_whose_loop_stops_is_ended_after_some_looks(tmp_path):
    plan = Process(
        name="loop", command=(sys.executable, "-c", LOOP), has_heartbeat=True
    )
    child = Child(plan, environment=dict(os.environ), logs=tmp_path)
    child.start()
    # As if it had run for a while.
    child.started -= 60
    try:
        beats = Heartbeat(tmp_path / "loop.heartbeat")
        for _ in range(SILENT_LOOKS + 1):
            wait_for(beats.has_beaten, 20, "a beat")
            assert not child.end_if_hanging()
        os.kill(child.running.pid, signal.SIGSTOP)
        wait_for(lambda: not beats.has_beaten(), 20, "no beat")
        looks = [child.end_if_hanging() for _ in range(SILENT_LOOKS + 1)]
        assert looks[-2:] != [False, False]
        assert child.running.wait(20) == -signal.SIGKILL
    finally:
        child.end_now()


@pytest.mark.slow
def test_stopped_processes_are_replaced(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("silent"), DEMO="0").start()
    try:
        before = {stack.pids()[name] for name in ("web", "worker-desk", "parser")}
        for pid in before:
            # The server's worker too.
            os.killpg(pid, signal.SIGSTOP)
        stack.wait_for(
            lambda: len(stack.pids()) >= 5 and before.isdisjoint(stack.pids().values()),
            180,
            "others",
        )
        stack.wait_for(
            lambda: requests.get(f"{stack.url}/readyz", timeout=10).status_code == 200,
            60,
            "readiness",
        )
    finally:
        stack.stop()
