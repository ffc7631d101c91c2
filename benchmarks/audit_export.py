"""How much memory does a web process need while it hands the whole ledger out, beside a program that lists it?"""

import hashlib
import http.client
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.ledger_rows import fill, rows
from benchmarks.processor import started
from benchmarks.result import Figure, Need, Result
from benchmarks.serving import own_database, prepare, web_process

# Megabytes above idle.
GOAL = 60.0
# How much less than the list, as a part of it: the ratio that is printed.
RATIO = 0.5
_READ = 1 << 18
# What somebody writes who does not think of the rows: all of them, then the file.
_NAIVE = """
import django, json, sys
django.setup()
from audit.models import Entry
from audit.trail import lines
from benchmarks.audit_export import resident
idle = resident("self")
whole = "".join(json.dumps(line.as_json()) + "\\n" for line in lines(Entry.objects.oldest_first()))
print((resident("self") - idle) / 1024)
"""


def measure() -> Result:
    """Take everything out through the real web process, and watch its memory from outside."""
    with own_database():
        prepare()
        number = rows()
        fill(number)
        with web_process("dashboard") as port:
            headers = sign_in()
            # The second time nothing is loaded for the first time any more.
            take(port, headers, "action=person.signed_in")
            idle = memory()
            watch = Watch()
            with watch:
                began = time.perf_counter()
                size, sha256, sent = take(port, headers, "")
                seconds = time.perf_counter() - began
        check(sha256)
        naive = float(subprocess.run([sys.executable, "-c", _NAIVE], check=True, capture_output=True).stdout)
    above = (watch.most - idle) / 1024
    return Result(
        question=__doc__ or "",
        figures=(
            Figure("rows", sent, ""),
            Figure("rows a second", sent / seconds, "/s"),
            Figure("size of the file", size / 1e6, "MB"),
            Figure("web process, idle", idle / 1024, "MB"),
            Figure("exporting, above idle", above, "MB"),
        ),
        control=Figure("a list of all rows, above idle", naive, "MB"),
        ratio=above / naive,
        goal=RATIO,
        runs=1,
        at_most=True,
        needs=(Need("megabytes above idle", above, GOAL, at_most=True),),
    )


def sign_in() -> dict[str, str]:
    """Make an auditor who has just signed in; return the headers of their browser."""
    from django.conf import settings
    from django.test import Client

    from people.models import Grant, Person

    person = Person.objects.create_user(email="max@bench.example", name="Max", password=os.urandom(16).hex())
    Grant.objects.create(person=person, role="auditor")
    client = Client()
    client.force_login(person, backend="people.sign_in.backend.PersonBackend")
    session = client.session
    proof = {"method": "password", "at": time.time(), "email": person.email}
    session["account_authentication_methods"] = [proof]
    session["account_authentication_methods_user"] = str(person.pk)
    session.save()
    return {"Cookie": f"{settings.SESSION_COOKIE_NAME}={session.session_key}", "Host": "127.0.0.1"}


def take(port: int, headers: dict[str, str], query: str) -> tuple[int, str, int]:
    """Ask for an export as JSON Lines and read it to its end; return its size, its hash and how many rows it has."""
    from audit.export.exports import begin_export
    from audit.export.formats import FORMATS
    from audit.search.filters import Filters
    from people.models import Person

    actor = Person.objects.get(email="max@bench.example").actor(surface="web")
    export = begin_export(actor=actor, filters=Filters.from_query(query), wanted=FORMATS["jsonl"])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", f"/audit/export/{export.pk}/file", headers=headers)
    answer: Any = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"the export answered {answer.status}")
    size, ends, whole = 0, 0, hashlib.sha256()
    while part := answer.read(_READ):
        size, ends = size + len(part), ends + part.count(b"\n")
        whole.update(part)
    return size, whole.hexdigest(), ends


def check(sha256: str) -> None:
    """Raise where the desk does not say that exactly this file was handed out, whole."""
    from audit.models import Export

    last = Export.objects.newest_first()[0]
    if (last.state, last.sha256, last.rows_done) != ("done", sha256, last.rows_total):
        raise RuntimeError(f"the file is not the one that was handed out: {last}")


class Watch:
    """Notes how large the web process becomes."""

    def __init__(self) -> None:
        self.most = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over.wait(0.05):
            self.most = max(self.most, memory())


def memory() -> int:
    """Return the kilobytes of the web process, which is all that this process has started: a parent and a child."""
    return sum(resident(str(pid)) for pid in started())


def resident(pid: str) -> int:
    """Return the kilobytes of memory that a process has for itself, with its part of what is shared."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1])
