"""How many signed webhooks a second are stored, mirrored, recorded and planned, against pgbench running the very same
statements?"""

import contextlib
import itertools
import json
import logging
import os
import re
import socket
import statistics
import time
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg

from benchmarks.caps import without_caps
from benchmarks.load import Request, requests_a_second
from benchmarks.result import Figure, Need, Result, sized
from benchmarks.serving import CLIENTS, own_database, pgbench, prepare, web_process
from upstream.signatures import HEADER, sign

RUNS, SECONDS, WARM_UP = sized(5, smoke=2), sized(4, smoke=1), sized(1.5, smoke=0.5)
GOAL = 0.25
MOST_OF_A_DUPLICATE, MOST_OF_A_FORGED, MOST_WITHOUT_REDIS = 0.7, 0.35, 3.0
SECRET = "whsec_bench"
# As with gateway_send: pgbench plans each statement each time, and the desk prepares them.
PROTOCOL = "simple"

# What is new with each event: hashes, ids of 26 letters and digits, and our own ids; 12 or 16 digits of each are drawn.
_ONE_OFF = re.compile(r"\b(?:(?:[0-9a-f]{48}|[0-9A-Z]{10})([0-9A-Za-z]{16})|[0-9a-f]{20}([0-9a-f]{12}))\b")
_POSITION = re.compile(r"SELECT pg_current_xact_id\(\)::text AS xid, nextval\('audit_entry_id_seq'\).*?;", re.DOTALL)


def measure() -> Result:
    """Measure both sides in turn, in a database of their own: what is in a ledger stays there."""
    with own_database():
        prepare()
        begin_at_a_long_number()
        webhook_id = make_connection()
        script = as_script(statements(webhook_id), statements(webhook_id))
        logging.disable(logging.WARNING)
        forged_statements = len(captured(webhook_id, lambda: (event(), "sha256=" + "0" * 64), expect=401))
        with web_process("dashboard") as port:
            requests = Requests(webhook_id)
            run(port, requests.new, seconds=WARM_UP)
            sides = [(run(port, requests.new), control(script)) for _ in range(RUNS)]
            again = run(port, requests.duplicate)
            later = run(port, requests.later)
            forged = requests_a_second(port, clients=CLIENTS, seconds=SECONDS, request=requests.forged, expect=b"4")
        with silent_redis(), web_process("dashboard") as port:
            run(port, requests.new, seconds=WARM_UP)
            alone = run(port, requests.new)
    ours, theirs = (statistics.median(side) for side in zip(*sides, strict=True))
    return Result(
        question=" ".join((__doc__ or "").split()),
        figures=(
            Figure("webhooks stored", ours, "a second"),
            Figure("statements of one", script.count(";\n") + 1, "round trips"),
            Figure("an approval costs, of a new one", ours / later, ""),
        ),
        control=Figure(f"pgbench, {CLIENTS} clients, {PROTOCOL}", theirs, "transactions a second"),
        ratio=statistics.median(a / b for a, b in sides),
        goal=GOAL,
        runs=RUNS,
        needs=(
            Need("a duplicate costs, of a new one", ours / again, MOST_OF_A_DUPLICATE, at_most=True),
            Need("a forged one costs, of a new one", ours / forged, MOST_OF_A_FORGED, at_most=True),
            Need("statements of a forged one", forged_statements, 0, at_most=True),
            Need("one while Redis hangs costs, of a new one", ours / alone, MOST_WITHOUT_REDIS, at_most=True),
        ),
    )


@contextlib.contextmanager
def silent_redis() -> Iterator[None]:
    """Let processes that are started meanwhile find a Redis that takes connections and never answers."""
    outer = os.environ["REDIS_URL"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        os.environ["REDIS_URL"] = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        try:
            yield
        finally:
            os.environ["REDIS_URL"] = outer


def begin_at_a_long_number() -> None:
    """Let entries have numbers that can be told from everything else in a statement, such as the day of a date."""
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute("SELECT setval('audit_entry_id_seq', 10000000)")


def make_connection() -> str:
    """Add a connection with a mailbox, and a destination that wants to know everything; return the webhook id."""
    from alerts.deliveries.planning import CARD_ACTIONS
    from alerts.models import Destination, Route
    from mirror.models import Connection, Mailbox

    destination = Destination.objects.create(name="#bench", url="https://discord.com/api/webhooks/1/bench")
    Route.objects.create(destination=destination, actions=list(CARD_ACTIONS))
    connection = Connection.objects.create(
        slug=f"bench-{uuid.uuid4().hex[:8]}",
        name="Bench",
        api_url="http://127.0.0.1:1",
        webhook_secret=SECRET,
        oversight_key="none",
        paused_because="A benchmark's connection: nothing is read from it.",
    )
    without_caps(
        Mailbox.objects.create(connection=connection, upstream_id="01BENCH", address="support@yourteam.example")
    )
    return connection.webhook_id


def event(name: str = "oversight.pending", email_id: str = "") -> bytes:
    """Return an event's body in the gateway's envelope, different each time."""
    from common.identifiers import ulid

    email_id = email_id or ulid()
    inner = {
        "event_id": ulid(),
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.123456+00:00", time.gmtime()),
        "id": email_id,
        "email_id": email_id,
        "message_id": email_id,
        "thread_id": "thread",
        "mailbox": "support@yourteam.example",
        "mailbox_id": "01BENCH",
        "from": "support@yourteam.example",
        "to": ["dana@northwind.example"],
        "to_addresses": ["dana@northwind.example"],
        "subject": "Your refund for order 4471",
        "direction": "outbound",
        "status": "pending_send_approval",
        "has_attachments": False,
        "sandbox": False,
        "metadata": {"discord_user": "ana#1", "discord_channel": "outreach", "discord_guild": "Acme"},
    }
    return json.dumps({"event": name, "type": name, "event_type": name, **inner, "data": inner}).encode()


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
        return self._whole(event(), "sha256=" + "0" * 64)

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


def control(script: str) -> float:
    """Return the transactions a second of the same statements."""
    return pgbench(script, seconds=SECONDS, protocol=PROTOCOL)


def statements(webhook_id: str) -> list[str]:
    """Return what one new event executes, values included, as the process that answers it does."""

    def signed() -> tuple[bytes, str]:
        body = event()
        return body, sign(body, SECRET)

    return captured(webhook_id, signed, expect=200)


def captured(webhook_id: str, make: Any, *, expect: int) -> list[str]:
    """Return the statements of one webhook when the process has seen one a moment before, as it has under load."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    tries: list[list[str]] = []
    for _ in range(5):
        body, signature = make()
        with CaptureQueriesContext(connection) as found:
            answer = Client(SERVER_NAME="127.0.0.1").post(
                f"/webhooks/multimail/{webhook_id}/", body, content_type="application/json", headers={HEADER: signature}
            )
        assert answer.status_code == expect, answer.content
        tries.append([str(query["sql"]) for query in found.captured_queries])
    # On a slow machine the connection's secrets may have been read again in between.
    return min(tries, key=len)


def as_script(one: list[str], other: list[str]) -> str:
    """Return the statements of one event for pgbench, with drawn values for what differs from another event."""
    assert len(one) == len(other), (one, other)
    same = "\n".join(other)
    names: dict[str, str] = {}

    def vary(found: re.Match[str]) -> str:
        digits = found[1] or found[2]
        if found[0] in same:
            return found[0]
        return found[0][: -len(digits)] + ":" + names.setdefault(digits, f"n{len(digits)}_{len(names)}")

    script = "".join(f"{_ONE_OFF.sub(vary, statement)};\n" for statement in one)
    draws = [f"\\set {name} random(1{'0' * (int(name[1:3]) - 1)}, {'9' * int(name[1:3])})\n" for name in names.values()]
    return "".join(draws) + _claim_position(script)


def _claim_position(script: str) -> str:
    """Let each run take a place of its own in the ledger, and use it."""
    before, position, after = _POSITION.split(script)[0], _POSITION.search(script), _POSITION.split(script)[-1]
    assert position is not None, script
    inserted = re.search(r'INSERT INTO "audit_entry" .*?VALUES \((\d+), \'(\d+)\'', after, re.DOTALL)
    assert inserted is not None, script
    number, xid = inserted[1], inserted[2]
    after = re.sub(rf"\b{number}\b", ":number", after).replace(f"'{xid}'", "':xid'")
    return before + position[0][:-1] + " \\gset" + after
