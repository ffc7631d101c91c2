"""With no time to undo: how long from a recorded decision to its call at MultiMail, at
20 a second or fewer?
"""

import contextlib
import http.client
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from benchmarks.result import Figure, Goal, Result, sized
from benchmarks.rows import lift_caps
from benchmarks.serving import own_database, prepare, within_reach, worker
from launcher.processes import DESK_THREADS

# Seconds that the stand-in for MultiMail takes to answer.
LATENCY = 0.1
# Decisions a second: at most this many, and on a slow machine this share of the
# requests a second that a plain Django view reaches.
MOST_A_SECOND = sized(20, smoke=5)
SHARE = 1 / 40
WARM_UP = sized(10, smoke=1)
SECONDS = sized(5, smoke=1)
RUNS = sized(5, smoke=1)
GOAL = 1.6


def measure() -> Result:
    """Decide at a fixed rate, let the real worker call, and note when each call arrives
    at a stand-in for MultiMail.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(own_database())
        prepare()
        from tests.factories import make_person

        port, arrivals = stack.enter_context(slow_multimail())
        # The desk calls only those private addresses that this setting names.
        os.environ["OUTGOING_ALLOW"] = f"http://127.0.0.1:{port}"
        connection = make_connection(port)
        person = make_person("bench@yourteam.example", "Bench", "reviewer")
        rate = within_reach(MOST_A_SECOND, share=SHARE)
        with worker("decisions,sync", threads=DESK_THREADS):
            decide(connection, person, arrivals, rate=rate, number=WARM_UP)
            # Two at least, for quantiles.
            number = max(2, rate * SECONDS)
            runs = [
                decide(connection, person, arrivals, rate=rate, number=number)
                for _ in range(RUNS)
            ]
        controls = [round_trip(port) for _ in range(10)]
    middle = statistics.median(statistics.median(run) for run in runs)
    control = statistics.median(controls)
    slowest = statistics.median(statistics.quantiles(run, n=20)[-1] for run in runs)
    return Result(
        question=__doc__ or "",
        figures=(
            Figure("recorded to call sent, median", middle * 1000, "ms"),
            Figure("recorded to call sent, 95 of 100", slowest * 1000, "ms"),
            Figure(f"decided, {MOST_A_SECOND} where the machine can", rate, "a second"),
        ),
        control=Figure("one call of MultiMail", control * 1000, "ms"),
        goals=(Goal("ratio", middle / control, GOAL),),
    )


def make_connection(port: int) -> Any:
    """Make a connection to this port, whose mailbox has no caps and no undo window."""
    from tests import factories

    connection = factories.make_connection(api_url=f"http://127.0.0.1:{port}")
    connection.mailboxes.update(undo_window=timedelta(0))
    lift_caps()
    return connection


def decide(
    connection: Any, person: Any, arrivals: Any, *, rate: int, number: int
) -> list[float]:
    """Approve `number` messages, one each 1/rate seconds without waiting for the last.
    Return the seconds from each decision to the arrival of its call.
    """
    from tests.factories import make_message

    messages = [make_message(connection) for _ in range(number)]
    actor = person.actor(surface="web")
    recorded = {}
    began = time.monotonic()
    for index, message in enumerate(messages):
        time.sleep(max(0.0, began + index / rate - time.monotonic()))
        recorded[message.upstream_id] = give(message, actor)
    arrived: dict[str, float] = {}
    while recorded.keys() - arrived.keys():
        arrived.update([arrivals.get(timeout=60)])
    return [arrived[message] - recorded_at for message, recorded_at in recorded.items()]


def give(message: Any, actor: Any) -> float:
    """Record the decision as the page does. Return the time (monotonic) after it was
    committed and the worker woken.
    """
    from approvals.decisions.decide import give_verdict

    give_verdict(
        message=message.public_id,
        actor=actor,
        outcome="approve",
        fingerprint=message.revision.fingerprint,
        reason="",
    )
    return time.monotonic()


def round_trip(port: int) -> float:
    """Return how many seconds one call of the stand-in takes."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/v1/oversight/pending?email_id=x")
    connection.getresponse().read()
    connection.close()
    return time.monotonic() - began


class Answers(BaseHTTPRequestHandler):
    """A stand-in for MultiMail that answers after `LATENCY` and puts the message and
    time of each decision into `arrivals`.
    """

    arrivals: Any

    def log_message(self, *_: Any) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        if self.path == "/v1/account":
            return self._answer({"scopes": ["oversight"]})
        from tests.factories import pending_row

        time.sleep(LATENCY)
        wanted = parse_qs(urlsplit(self.path).query).get("email_id", [])
        return self._answer(
            {"pending": [pending_row(one) for one in wanted], "cursor": None}
        )

    def do_POST(self) -> None:
        arrived = time.monotonic()
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.arrivals.put((asked["email_id"], arrived))
        time.sleep(LATENCY)
        self._answer(
            {
                "status": "approved_and_sent",
                "decision": "approved",
                "decided_by": "bench",
            }
        )

    def _answer(self, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("X-Countersign-Gateway", "1")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@contextlib.contextmanager
def slow_multimail() -> Iterator[tuple[int, Any]]:
    """Run the stand-in in its own process, so that it does not slow this one down.
    Yield its port and the queue of arrivals.
    """
    fork = multiprocessing.get_context("fork")
    Answers.arrivals = fork.Queue()
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        process = fork.Process(target=server.serve_forever, daemon=True)
        process.start()
        try:
            yield server.server_port, Answers.arrivals
        finally:
            process.terminate()
            process.join()
