"""How much more does a page of queue or ledger cost at 100,000 waiting and 1,000,000
entries than at 100 and 10,000?
"""

import contextlib
import os
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psycopg

from benchmarks.processor import postgres, spent
from benchmarks.result import Figure, Goal, Result, sized
from benchmarks.rows import add_entries, add_messages, make_desk
from benchmarks.serving import own_database, prepare

FEW_WAITING = sized(100, smoke=30)
MANY_WAITING = sized(100_000, smoke=60)
FEW_ENTRIES = sized(10_000, smoke=100)
MANY_ENTRIES = sized(1_000_000, smoke=1_000)
# Each round measures an act this many times.
ROUNDS = sized(7, smoke=1)
TIMES = sized(5, smoke=2)
# The most that the cost with many rows may be of that with few.
QUEUE_GOAL = 1.5
LEDGER_GOAL = 4.0
ENTRY_GOAL = 1.2
QUEUE = ("/queue/", "/queue/?order=riskiest", "/queue/?order=soonest")
# Searches for a word in every entry, in a few and in none; an action that a sixth of
# the entries have; two filters at once; and a page near the beginning of the ledger.
LEDGER = (
    "/audit/",
    "/audit/?q=refund",
    "/audit/?q=customer12",
    "/audit/?q=nowhere",
    "/audit/?action=verdict.given",
    "/audit/?actor=person%2F4&q=refund",
    "/audit/?q=refund&before=8000",
)


def measure() -> Result:
    """Measure each page, and the recording of an entry, in one process: in turn on a
    database with few rows and on one with many.
    """
    os.environ["DEMO"] = "0"
    with own_database():
        prepare()
        connection, client = make_desk()
        add_messages(connection, first=1, last=FEW_WAITING)
        add_entries(first=1, last=FEW_ENTRIES)
        with copy_of_database() as few:
            add_messages(connection, first=FEW_WAITING + 1, last=MANY_WAITING)
            add_entries(first=FEW_ENTRIES + 1, last=MANY_ENTRIES)
            costs = {
                path: in_turn(few, partial(see, client, path))
                for path in (*QUEUE, *LEDGER)
            }
            costs["an entry"] = in_turn(few, record_entry)
    ratios = {name: many / few for name, (few, many) in costs.items()}
    worst = max(QUEUE, key=ratios.__getitem__)
    return Result(
        question=__doc__ or "",
        figures=(
            *(Figure(f"{name}, many", many, "ms") for name, (_, many) in costs.items()),
            *(
                Figure(f"{name}, many over few", ratio, "")
                for name, ratio in ratios.items()
            ),
        ),
        control=Figure(f"{worst}, few", costs[worst][0], "ms"),
        goals=(
            Goal("ratio of the queue", ratios[worst], QUEUE_GOAL),
            Goal(
                "ratio of the ledger", max(ratios[path] for path in LEDGER), LEDGER_GOAL
            ),
            Goal("ratio of an entry", ratios["an entry"], ENTRY_GOAL),
        ),
    )


@contextlib.contextmanager
def copy_of_database() -> Iterator[str]:
    """Copy the database as it is now, with its people and sessions, and yield the name
    of the copy, which is dropped at the end.
    """
    from django.db import connection

    name = connection.settings_dict["NAME"]
    copy = f"{name}_few"
    connection.close()
    with psycopg.connect(
        os.environ["DATABASE_OWNER_URL"], autocommit=True, dbname="postgres"
    ) as owner:
        owner.execute(f"DROP DATABASE IF EXISTS {copy} WITH (FORCE)")  # type: ignore[arg-type]
        owner.execute(f"CREATE DATABASE {copy} TEMPLATE {name}")  # type: ignore[arg-type]
        try:
            yield copy
        finally:
            use(name)
            owner.execute(f"DROP DATABASE {copy} WITH (FORCE)")  # type: ignore[arg-type]


def use(name: str) -> None:
    """Let Django use the database of this name from now on."""
    from django.db import connection

    connection.close()
    connection.settings_dict["NAME"] = name


def in_turn(few: str, act: Callable[[], object]) -> tuple[float, float]:
    """Return the milliseconds of processor time, including PostgreSQL's, that `act`
    takes on the database `few` and on the present one.
    """
    from django.db import connection

    many = connection.settings_dict["NAME"]
    server = postgres()
    costs: dict[str, list[float]] = {few: [], many: []}
    for _ in range(ROUNDS):
        for name, measured in costs.items():
            use(name)
            # The first time prepares statements and fills caches.
            act()
            database_time = spent([server])
            own_time = time.process_time()
            for _ in range(TIMES):
                act()
            own_time = (time.process_time() - own_time) * 1000
            measured.append((own_time + spent([server]) - database_time) / TIMES)
    return statistics.median(costs[few]), statistics.median(costs[many])


def see(client: Any, path: str) -> None:
    """Get a page. Raise RuntimeError if the answer is no page or no full count."""
    answer = client.get(path)
    if answer.status_code != 200 or b"Counting these took too long" in answer.content:
        raise RuntimeError(f"{path} is no page: {answer.status_code}")


def record_entry() -> None:
    """Record an audit entry with details, in a transaction."""
    from django.db import transaction

    from audit.recording import record
    from common.actors import worker

    details = {
        "subject": "Your refund",
        "recipients": "dana@northwind.example",
        "reason": "It is as asked.",
    }
    with transaction.atomic():
        record(
            "message.served",
            actor=worker("bench"),
            connection=1,
            message=uuid.uuid4(),
            details=details,
        )
