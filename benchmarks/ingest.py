"""How many signed webhooks a second are taken in whole, against pgbench running the
very same statements?
"""

import logging
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.load import Request, requests_a_second
from benchmarks.result import Figure, Goal, Result, sized
from benchmarks.rows import lift_caps
from benchmarks.serving import CLIENTS, own_database, prepare, web_process
from benchmarks.statements import NAME, as_script, pgbench, statements
from upstream.signatures import HEADER, sign

RUNS = sized(5, smoke=2)
SECONDS = sized(4, smoke=1)
WARM_UP = sized(1.5, smoke=0.5)
GOAL = 0.2
# What these may cost, as a share of a new webhook.
MOST_OF_A_DUPLICATE = 0.7
MOST_OF_A_FORGED = 0.35
SECRET = "whsec_bench"
FORGED = "sha256=" + "0" * 64


def measure() -> Result:
    """Measure the desk and pgbench in turn, in a separate database, because nothing can
    be removed from a ledger.
    """
    with own_database():
        prepare()
        from alerts.deliveries.planning import CARD_ACTIONS

        webhook_id = make_connection(
            "https://discord.com/api/webhooks/1/bench", CARD_ACTIONS
        ).webhook_id
        first, second = (statements(lambda: deliver(webhook_id)) for _ in range(2))
        script = as_script(first, second)
        logging.disable(logging.WARNING)
        forged_statements = len(
            statements(lambda: deliver(webhook_id, signature=FORGED, expect=401))
        )
        with web_process("dashboard") as port:
            run(port, lambda: post(webhook_id, event()), seconds=WARM_UP)
            sides = [
                (
                    run(port, lambda: post(webhook_id, event())),
                    pgbench(script, seconds=SECONDS),
                )
                for _ in range(RUNS)
            ]
            same = post(webhook_id, event())
            again = run(port, lambda: same)
            forged = run(port, lambda: post(webhook_id, event(), FORGED), expect=b"4")
    ours, theirs = (statistics.median(side) for side in zip(*sides, strict=True))
    return Result(
        question=__doc__ or "",
        figures=(
            Figure("webhooks stored", ours, "a second"),
            Figure("statements of one", script.count(";\n") + 1, "round trips"),
        ),
        control=Figure(NAME, theirs, "transactions a second"),
        goals=(
            Goal(
                "ratio", statistics.median(a / b for a, b in sides), GOAL, at_most=False
            ),
            Goal("a duplicate costs, of a new one", ours / again, MOST_OF_A_DUPLICATE),
            Goal("a forged one costs, of a new one", ours / forged, MOST_OF_A_FORGED),
            Goal("statements of a forged one", forged_statements, 0),
        ),
    )


def make_connection(url: str, actions: Sequence[str]) -> Any:
    """Make a connection that the desk does not read from, and a destination at `url`
    that is notified about these actions.
    """
    from alerts.models import Destination, Route
    from tests import factories

    destination = Destination.objects.create(name="#bench", url=url)
    Route.objects.create(destination=destination, actions=list(actions))
    reason = "A benchmark's connection: nothing is read from it."
    connection = factories.make_connection(webhook_secret=SECRET, paused_because=reason)
    lift_caps()
    return connection


def event() -> bytes:
    """Return the body of a webhook about a new held message."""
    from common.identifiers import ulid
    from tests.factories import event_body

    return event_body(email_id=ulid(), event_id=ulid())


def post(webhook_id: str, body: bytes, signature: str = "") -> bytes:
    """Return one HTTP request with a webhook, rightly signed by default."""
    head = (
        f"POST /webhooks/multimail/{webhook_id}/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"{HEADER}: {signature or sign(body, SECRET)}\r\n\r\n"
    )
    return head.encode() + body


def run(
    port: int, request: Request, *, seconds: float = SECONDS, expect: bytes = b"200"
) -> float:
    """Return how many requests a second were answered with the status `expect`."""
    return requests_a_second(
        port, clients=CLIENTS, seconds=seconds, request=request, expect=expect
    )


def deliver(webhook_id: str, *, signature: str = "", expect: int = 200) -> None:
    """Deliver a webhook in this process, with the same code as the web process."""
    from django.test import Client

    body = event()
    answer = Client(SERVER_NAME="127.0.0.1").post(
        f"/webhooks/multimail/{webhook_id}/",
        body,
        content_type="application/json",
        headers={HEADER: signature or sign(body, SECRET)},
    )
    assert answer.status_code == expect, answer.content
