"""How much longer does an approval take, from the press until its outcome is known, at
a slow MultiMail with 10,000 held messages (1.2 GB) than with 30?
"""

import base64
import contextlib
import json
import multiprocessing
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from benchmarks import processor
from benchmarks.decide import give
from benchmarks.result import Figure, Goal, Result, sized
from benchmarks.rows import lift_caps
from benchmarks.serving import own_database, prepare, worker
from launcher.processes import DESK_THREADS

FEW = sized(30, smoke=30)
MANY = sized(10_000, smoke=60)
# Rows of a page at MultiMail at most, and the seconds that it takes.
PAGE = 20
PAGE_SECONDS = sized(0.7, smoke=0.05)
# Approvals that are answered, and approvals whose answer is lost.
APPROVALS = sized(15, smoke=2)
LOST = sized(5, smoke=1)
# Seconds until a step counts as failed.
PATIENCE = 3600
# Each message has a picture of 120 kB in it, so that 10,000 are 1.2 GB.
PICTURE = base64.b64encode(random.Random(1).randbytes(90_000)).decode()
LOGO = f'<img alt="Logo" width="80" height="40" src="data:image/png;base64,{PICTURE}">'
GOAL = 1.3
GOAL_OF_FIRST = 10.0
GOAL_OF_MEMORY = 100.0


def measure() -> Result:
    """Connect a desk to a list of each length, wait until it is mirrored, and approve
    messages while the list is read again.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(own_database())
        prepare()
        from tests.factories import make_person

        lift_caps()
        person = make_person("bench@yourteam.example", "Bench", "reviewer")
        few = measure_list(person, FEW)
        many = measure_list(person, MANY)
    return Result(
        question=__doc__ or "",
        figures=(
            Figure(f"press to outcome, {MANY:,} held", many["approval"], "s"),
            Figure(f"the answer lost, {FEW} held", few["lost"], "s"),
            Figure(f"the answer lost, {MANY:,} held", many["lost"], "s"),
            Figure(f"all of {MANY:,} mirrored after", many["all"], "s"),
        ),
        control=Figure(f"press to outcome, {FEW} held", few["approval"], "s"),
        goals=(
            Goal("ratio", many["approval"] / few["approval"], GOAL),
            Goal("ratio where the answer is lost", many["lost"] / few["lost"], GOAL),
            Goal("first one decidable after, seconds", many["first"], GOAL_OF_FIRST),
            Goal("the worker grew by, MB", many["memory"], GOAL_OF_MEMORY),
        ),
    )


def measure_list(person: Any, number: int) -> dict[str, float]:
    """Return the seconds until the first message could be decided, until all could, and
    of approvals; and by how many megabytes the worker grew.
    """
    from common.postgres import clock
    from mirror.models import Connection, Message
    from tests.factories import make_connection

    with slow_multimail(number) as port:
        # The desk calls only those private addresses that this setting names.
        os.environ["OUTGOING_ALLOW"] = f"http://127.0.0.1:{port}"
        before = processor.started()
        with worker("decisions,sync", threads=DESK_THREADS, beat="dashboard"):
            # Loads all code, and is idle then.
            time.sleep(sized(15, smoke=5))
            pids = processor.started() - before
            at_start = memory(pids, "VmRSS")
            connected_at = time.monotonic()
            connection = make_connection(
                f"held-{number}",
                api_url=f"http://127.0.0.1:{port}",
                is_our_gateway=False,
                read_key="mm_live_read",
            )
            readable = Message.objects.filter(
                connection=connection, hydrated_at__isnull=False
            )
            wait(readable.exists)
            first = time.monotonic() - connected_at
            connection.mailboxes.update(undo_window=timedelta(0))
            wait(lambda: readable.count() == number, pause=0.5)
            whole = time.monotonic() - connected_at
            actor = person.actor(surface="web")
            keys = list(readable.order_by("pk").values_list("pk", flat=True))
            # From all over the list, the same ones in each run.
            sample = random.Random(number).sample(keys, APPROVALS + LOST)
            by_key = readable.select_related("revision").in_bulk(sample)
            chosen = [by_key[key] for key in sample]
            approvals = [approve(actor, one) for one in chosen[:APPROVALS]]
            lost = [
                approve(actor, one, answer="lost")
                for one in chosen[APPROVALS : APPROVALS + LOST]
            ]
            grown = memory(pids, "VmHWM") - at_start
        Connection.objects.filter(pk=connection.pk).update(removed_at=clock())
    return {
        "first": first,
        "all": whole,
        "approval": statistics.median(approvals),
        "lost": statistics.median(lost),
        "memory": grown,
    }


def approve(actor: Any, message: Any, *, answer: str = "") -> float:
    """Approve a message, and return the seconds until its outcome is known. If the
    answer is to be lost, the reason says so to the stand-in.
    """
    from approvals.decisions.decide import give_verdict
    from approvals.models import Decision

    if answer:
        pressed = time.monotonic()
        give_verdict(
            message=message.public_id,
            actor=actor,
            outcome="approve",
            fingerprint=message.revision.fingerprint,
            reason=f"{answer} answer",
        )
    else:
        pressed = give(message, actor)
    applied = Decision.objects.filter(message=message, state="applied")
    wait(applied.exists, pause=0.02)
    return time.monotonic() - pressed


def wait(is_so: Callable[[], bool], *, pause: float = 0.1) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > deadline:
            raise RuntimeError("it did not happen in time")
        time.sleep(pause)


def memory(pids: set[int], name: str) -> float:
    """Return the memory of these processes in megabytes: that of now (`VmRSS`), or the
    most that it was (`VmHWM`).
    """
    number = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith(f"{name}:"):
                    number += int(line.split()[1])
    return number / 1024


class Answers(BaseHTTPRequestHandler):
    """A hosted MultiMail with short, slow pages. `held` and `decided` are shared by its
    threads.
    """

    held: dict[str, Any]
    decided: dict[str, dict[str, Any]]

    def log_message(self, *_: Any) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.path == "/v1/account":
            return self._answer({"scopes": ["oversight"]})
        if "/emails/" in address.path:
            email_id = address.path.rpartition("/")[2]
            return self._answer(self.decided.get(email_id) or self.held[email_id])
        if address.path != "/v1/oversight/pending":
            return self._answer({"error": "There is no such address."}, 404)
        time.sleep(PAGE_SECONDS)
        query = parse_qs(address.query)
        start = int(query.get("cursor", ["0"])[0])
        rows = list(self.held.values())
        end = start + min(PAGE, int(query.get("limit", [PAGE])[0]))
        cursor = str(end) if end < len(rows) else None
        return self._answer({"pending": rows[start:end], "cursor": cursor})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        email_id = asked["email_id"]
        del self.held[email_id]
        told = {
            "id": email_id,
            "decision": "approved",
            "decided_by": asked["decided_by"],
            "reason": asked["reason"],
        }
        self.decided[email_id] = told | {"status": "sent"}
        if asked["reason"].startswith("lost"):
            return self._answer({"error": "Something went wrong."}, 500)
        return self._answer(told | {"status": "approved_and_sent"})

    def _answer(self, body: dict[str, Any], status: int = 200) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@contextlib.contextmanager
def slow_multimail(number: int) -> Iterator[int]:
    """Run the stand-in with so many held messages in its own process. Yield its port."""
    from tests.factories import pending_row

    Answers.decided = {}
    Answers.held = {
        f"01HELD{number}X{index:06}": pending_row(
            f"01HELD{number}X{index:06}",
            subject=f"Your refund for order {index}",
            markdown="",
            html_body=f"<p>Your refund for order {index} is on its way.</p>{LOGO}",
        )
        for index in range(number)
    }
    fork = multiprocessing.get_context("fork")
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        process = fork.Process(target=server.serve_forever, daemon=True)
        process.start()
        try:
            yield server.server_port
        finally:
            process.terminate()
            process.join()
