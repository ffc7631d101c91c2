"""Runs Python code for a test in a separate process of the product, as an operator would
in `./run manage shell`.
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

    def close(self):
        if self._process is not None:
            with self._process:
                self._process.stdin.close()
