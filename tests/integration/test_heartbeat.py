"""A process whose work loop stops is ended and started again by the launcher."""

import os
import signal
import sys

from launcher.child import SILENT_LOOKS, Child, Heartbeat
from launcher.processes import Process
from tests.stack import wait_for

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
