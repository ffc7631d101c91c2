"""Starts the stand-in in a process of its own, and speaks to it: for tests."""

import contextlib
import subprocess
import sys
from dataclasses import dataclass

import requests

from tests.hosted.temper import TEMPERS

OVERSIGHT = "mm_live_oversight_key"
READ = "mm_live_read_key"
ADMIN = "mm_live_admin_key"
AGENT = "mm_live_agent_key"


@dataclass
class Hosted:
    """The stand-in at `url`."""

    url: str

    def control(self, **acts):
        """Have it do something: the acts of `control.py`."""
        answer = requests.post(f"{self.url}/_control", json=acts, timeout=60)
        answer.raise_for_status()
        return dict(answer.json())

    def begin(self, temper, **switches):
        """Be as new, with this temper."""
        self.control(begin={**TEMPERS[temper], **switches})

    def set(self, **switches):
        """Change switches."""
        self.control(set=switches)

    def hold(self, **fields):
        """Let an agent send a message that is held; return its id."""
        return str(self.control(send=fields)["id"])

    def before(self, path, **acts):
        """Let something happen right before the next call to this path is answered."""
        self.control(before=[path, acts])

    @property
    def shown(self):
        """Everything that it keeps."""
        return dict(requests.get(f"{self.url}/_control", timeout=60).json())

    def effects(self, email_id):
        """What became of a message, in order: `left`, `rejected`, `let in`,
        `cancelled`.
        """
        return [
            one["what"] for one in self.shown["effects"] if one["email_id"] == email_id
        ]

    def calls(self, path, method="POST"):
        """The bodies of the calls to a path."""
        return [
            one["body"]
            for one in self.shown["calls"]
            if (one["method"], one["path"]) == (method, path)
        ]

    def ask(self, method, path, *, key=ADMIN, **options):
        """Call its API with a key."""
        headers = {"Authorization": f"Bearer {key}"}
        return requests.request(
            method, self.url + path, headers=headers, timeout=60, **options
        )


@contextlib.contextmanager
def hosted(*options):
    """Run it on a free port."""
    command = [sys.executable, "-m", "tests.hosted", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Hosted(process.stdout.readline().strip())
        finally:
            process.terminate()
            process.wait(10)
