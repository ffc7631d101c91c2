"""A thread that does not come back ends its worker."""

import os
import signal
import sys

from tests.commands import run_command


def test_worker_with_a_stuck_task_is_killed_and_says_which():
    program = (
        "import logging, threading; logging.basicConfig()\n"
        "from dashboard.worker import Watch\n"
        "watch = Watch(every=0.01, looks=3); watch._note_begin('1', type('T', (), {'name': 'tasks.hydrate'}))\n"
        "watch.begin(); threading.Event().wait(20)"
    )
    ended = run_command([sys.executable, "-c", program], env=os.environ)
    assert ended.returncode == -signal.SIGKILL
    assert "task does not end" in ended.stderr
