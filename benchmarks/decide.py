"""With no time to undo: how long from a recorded decision to its call at MultiMail, at 20 a second or fewer?"""

import http.client
import os
import socket
import statistics
import time
import uuid
from typing import Any

from benchmarks.caps import without_caps
from benchmarks.result import Figure, Need, Result, sized
from benchmarks.serving import own_database, prepare, within_reach, worker
from benchmarks.slow_multimail import MAILBOX, Arrivals, row, slow_upstream
from launcher.processes import DESK_THREADS

LATENCY = 0.1
# Decisions of a connection that never answers.
HANGING = sized(9, smoke=2)
# Decisions a second: as many, or a share of what a plain Django view reaches where the machine is slower.
MOST_A_SECOND, SHARE = sized(20, smoke=5), 1 / 40
WARM_UP = sized(10, smoke=1)
SECONDS, RUNS = sized(5, smoke=1), sized(5, smoke=1)
GOAL, MOST_SLOWDOWN = 1.6, 3.0


def measure() -> Result:
    """Decide at a fixed rate through the real worker, and stamp each call where it arrives."""
    with own_database(), slow_upstream(LATENCY) as arrivals, socket.create_server(("127.0.0.1", 0)) as silent:
        # The desk calls no private address that is not named.
        os.environ["MULTIMAIL_API_URL"] = f"http://127.0.0.1:{arrivals.port}"
        os.environ["OUTGOING_ALLOW"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        prepare()
        connection, person = make_desk("bench", arrivals.port)
        neighbour, _ = make_desk("neighbour", silent.getsockname()[1])
        rate = within_reach(MOST_A_SECOND, share=SHARE)
        with worker("decisions,sync", threads=DESK_THREADS):
            decide(connection, person, arrivals, rate=rate, number=WARM_UP)
            runs = [decide(connection, person, arrivals, rate=rate, number=rate * SECONDS) for _ in range(RUNS)]
            for message in [make_message(neighbour) for _ in range(HANGING)]:
                give(message, person.actor(surface="web"))
            with_hanging = statistics.median(decide(connection, person, arrivals, rate=rate, number=rate * SECONDS))
        controls = [round_trip(arrivals.port) for _ in range(10)]
    middle = statistics.median(statistics.median(run) for run in runs)
    control = statistics.median(controls)
    slowest = statistics.median(statistics.quantiles(run, n=20)[-1] for run in runs)
    return Result(
        question=__doc__ or "",
        figures=(
            Figure("recorded to call sent, median", middle * 1000, "ms"),
            Figure("recorded to call sent, 95 of 100", slowest * 1000, "ms"),
            Figure("of it reading the content once more", control * 1000, "ms"),
            Figure(f"decided, {MOST_A_SECOND} where the machine can", rate, "a second"),
        ),
        control=Figure("one call of MultiMail", control * 1000, "ms"),
        ratio=middle / control,
        goal=GOAL,
        runs=RUNS,
        at_most=True,
        needs=(
            Need("beside a connection that hangs, over without", with_hanging / middle, MOST_SLOWDOWN, at_most=True),
        ),
    )


def make_desk(slug: str, port: int) -> tuple[Any, Any]:
    """Make a connection to this port whose mailbox leaves no time to undo, and a reviewer."""
    from datetime import timedelta

    from mirror.models import Connection, Mailbox
    from people.models import Grant, Person

    connection = Connection.objects.create(
        slug=slug,
        name=slug.title(),
        api_url=f"http://127.0.0.1:{port}",
        webhook_secret="none",
        oversight_key="mm_live_bench",
        is_our_gateway=True,
    )
    without_caps(
        Mailbox.objects.create(
            connection=connection, upstream_id=MAILBOX["id"], address=MAILBOX["address"], undo_window=timedelta(0)
        )
    )
    person = Person.objects.create_user(email=f"{slug}@yourteam.example", name="Bench", password=uuid.uuid4().hex)
    Grant.objects.create(person=person, role="reviewer")
    return connection, person


def decide(connection: Any, person: Any, arrivals: Arrivals, *, rate: int, number: int) -> list[float]:
    """Approve `number` messages, one each 1/rate seconds whatever becomes of them; return how long each took to go."""
    messages = [make_message(connection) for _ in range(number)]
    actor = person.actor(surface="web")
    recorded = {}
    began = time.monotonic()
    for index, message in enumerate(messages):
        time.sleep(max(0.0, began + index / rate - time.monotonic()))
        recorded[message.upstream_id] = give(message, actor)
    deadline = time.monotonic() + 60
    while not recorded.keys() <= arrivals.at.keys():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not carried out: {left_over()}")
        time.sleep(0.02)
    return [arrivals.at[message] - at for message, at in recorded.items()]


def left_over() -> list[tuple[str, str, int]]:
    """Return the decisions that did not end, by state and explanation."""
    from django.db.models import Count

    from approvals.models import Decision

    counted = Decision.objects.exclude(state="applied").values_list("state", "explanation").order_by("state")
    return list(counted.annotate(number=Count("pk")))


def make_message(connection: Any) -> Any:
    """Mirror a held message."""
    from common.postgres import clock
    from mirror.models import Message
    from mirror.sync.rows import mirror_row

    upstream_id = uuid.uuid4().hex
    if not mirror_row(connection, row(upstream_id), clock()):
        raise RuntimeError("the message was not mirrored")
    return Message.objects.select_related("revision").get(connection=connection, upstream_id=upstream_id)


def give(message: Any, actor: Any) -> float:
    """Record the decision as the page does, and return when that was committed and the worker woken."""
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
    """Return how long one call of the stand-in takes."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/v1/oversight/pending?email_id=x")
    connection.getresponse().read()
    connection.close()
    return time.monotonic() - began
