"""Runs Python code for a test in a separate process of the product: as an operator
would in `./run manage shell`, or a task as a second worker would.
"""

import json

_SHELL = """
import json, sys, traceback
from django.db import connection
names = {}
for line in sys.stdin:
    # PostgreSQL may have been killed since.
    connection.close()
    names["result"], error = None, ""
    try:
        exec(json.loads(line), names)
    except BaseException:
        error = traceback.format_exc()
    print("answer " + json.dumps({"result": names["result"], "error": error}, default=str), flush=True)
"""
# It also runs the tasks that a task sends, because the real worker may be stopped.
_OTHER_WORKER = """
from common.tasks import AfterCommitTask
from dashboard.celery import app
sent = []
AfterCommitTask._send = lambda task, args, kwargs=None, **options: sent.append((task, args))
app.conf.task_always_eager = True
app.loader.import_default_modules()
def work(task, *arguments):
    done = app.tasks[task](*arguments)
    while sent:
        again, args = sent.pop(0)
        again(*args)
    return done
"""


class Shell:
    """`./run manage shell`, started at its first use."""

    def __init__(self, stack):
        self._stack = stack
        self._process = None

    def run(self, code):
        """Run code, and return its variable `result`. An error fails the test."""
        if self._process is None:
            self._process = self._stack.converse("manage", "shell", "-v0", "-c", _SHELL)
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("answer "):
                answer = json.loads(line.removeprefix("answer "))
                assert not answer["error"], answer["error"]
                return answer["result"]
        raise AssertionError("the shell ended")

    def work(self, task, *arguments):
        """Run a task, and the tasks that it sends; return its result."""
        return self.run(_OTHER_WORKER + f"result = work({task!r}, *{arguments})")

    def close(self):
        if self._process is not None:
            with self._process:
                self._process.stdin.close()
