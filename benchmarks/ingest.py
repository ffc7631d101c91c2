"""How many signed webhooks a second are taken in whole, against pgbench running the very same statements?"""

import itertools
import logging
import os
import re
import statistics
from collections.abc import Sequence
from typing import Any

import psycopg

from benchmarks.load import Request, requests_a_second
from benchmarks.result import Figure, Goal, Result, sized
from benchmarks.rows import lift_caps
from benchmarks.serving import CLIENTS, own_database, prepare, web_process
from benchmarks.statements import NAME, as_script, pgbench, statements
from upstream.signatures import HEADER, sign

RUNS, SECONDS, WARM_UP = sized(5, smoke=2), sized(4, smoke=1), sized(1.5, smoke=0.5)
GOAL = 0.25
MOST_OF_A_DUPLICATE, MOST_OF_A_FORGED = 0.7, 0.35
SECRET, FORGED = "whsec_bench", "sha256=" + "0" * 64
_POSITION = re.compile(r"SELECT pg_current_xact_id\(\)::text AS xid, nextval\('audit_entry_id_seq'\).*?;", re.DOTALL)


def measure() -> Result:
    """Measure both sides in turn, in a database of their own: what is in a ledger stays there."""
    with own_database():
        prepare()
        begin_at_a_long_number()
        from alerts.deliveries.planning import CARD_ACTIONS

        webhook_id = make_connection("https://discord.com/api/webhooks/1/bench", CARD_ACTIONS).webhook_id
        one, other = (statements(lambda: deliver(webhook_id)) for _ in range(2))
        script = claim_position(as_script(one, other))
        logging.disable(logging.WARNING)
        forged_statements = len(statements(lambda: deliver(webhook_id, signature=FORGED, expect=401)))
        with web_process("dashboard") as port:
            requests = Requests(webhook_id)
            run(port, requests.new, seconds=WARM_UP)
            sides = [(run(port, requests.new), pgbench(script, seconds=SECONDS)) for _ in range(RUNS)]
            again = run(port, requests.duplicate)
            later = run(port, requests.later)
            forged = requests_a_second(port, clients=CLIENTS, seconds=SECONDS, request=requests.forged, expect=b"4")
    ours, theirs = (statistics.median(side) for side in zip(*sides, strict=True))
    return Result(
        question=__doc__ or "",
        figures=(
            Figure("webhooks stored", ours, "a second"),
            Figure("statements of one", script.count(";\n") + 1, "round trips"),
            Figure("an approval costs, of a new one", ours / later, ""),
        ),
        control=Figure(NAME, theirs, "transactions a second"),
        goals=(
            Goal("ratio", statistics.median(a / b for a, b in sides), GOAL, at_most=False),
            Goal("a duplicate costs, of a new one", ours / again, MOST_OF_A_DUPLICATE),
            Goal("a forged one costs, of a new one", ours / forged, MOST_OF_A_FORGED),
            Goal("statements of a forged one", forged_statements, 0),
        ),
    )


def begin_at_a_long_number() -> None:
    """Let entries have numbers that can be told from everything else in a statement, such as the day of a date."""
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute("SELECT setval('audit_entry_id_seq', 10000000)")


def make_connection(url: str, actions: Sequence[str]) -> Any:
    """Make a connection from which nothing is read, and a destination that wants to know of these acts."""
    from alerts.models import Destination, Route
    from tests import factories

    destination = Destination.objects.create(name="#bench", url=url)
    Route.objects.create(destination=destination, actions=list(actions))
    reason = "A benchmark's connection: nothing is read from it."
    connection = factories.make_connection(webhook_secret=SECRET, paused_because=reason)
    lift_caps(connection)
    return connection


def event(name: str = "oversight.pending", email_id: str = "") -> bytes:
    """Return an event's body, different each time."""
    from common.identifiers import ulid
    from tests.factories import event_body

    return event_body(name, email_id=email_id or ulid(), event_id=ulid())


class Requests:
    """Whole requests to one webhook address."""

    def __init__(self, webhook_id: str) -> None:
        self.webhook_id = webhook_id
        self._same = self._whole(event())
        self._known: list[str] = []
        self._numbers = itertools.count()

    def new(self) -> bytes:
        """A message that nobody knows yet."""
        from common.identifiers import ulid

        self._known.append(email_id := ulid())
        return self._whole(event(email_id=email_id))

    def duplicate(self) -> bytes:
        """Always the same."""
        return self._same

    def later(self) -> bytes:
        """The approval of a message that was made known before."""
        return self._whole(event("oversight.approved", self._known[next(self._numbers)]))

    def forged(self) -> bytes:
        """One that nobody signed."""
        return self._whole(event(), FORGED)

    def _whole(self, body: bytes, signature: str = "") -> bytes:
        head = (
            f"POST /webhooks/multimail/{self.webhook_id}/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"{HEADER}: {signature or sign(body, SECRET)}\r\n\r\n"
        )
        return head.encode() + body


def run(port: int, request: Request, *, seconds: float = SECONDS) -> float:
    """Return how many a second were taken in."""
    return requests_a_second(port, clients=CLIENTS, seconds=seconds, request=request, expect=b"200")


def deliver(webhook_id: str, *, signature: str = "", expect: int = 200) -> None:
    """Deliver an event as the process that answers does."""
    from django.test import Client

    body = event()
    answer = Client(SERVER_NAME="127.0.0.1").post(
        f"/webhooks/multimail/{webhook_id}/",
        body,
        content_type="application/json",
        headers={HEADER: signature or sign(body, SECRET)},
    )
    assert answer.status_code == expect, answer.content


def claim_position(script: str) -> str:
    """Let each run take a place of its own in the ledger, and use it."""
    before, position, after = _POSITION.split(script)[0], _POSITION.search(script), _POSITION.split(script)[-1]
    assert position is not None, script
    inserted = re.search(r'INSERT INTO "audit_entry" .*?VALUES \((\d+), \'(\d+)\'', after, re.DOTALL)
    assert inserted is not None, script
    number, xid = inserted[1], inserted[2]
    after = re.sub(rf"\b{number}\b", ":number", after).replace(f"'{xid}'", "':xid'")
    return before + position[0][:-1] + " \\gset" + after
