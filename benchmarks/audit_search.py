"""How much longer does a page of the ledger take, searched or not, in a million entries than in 10,000?"""

import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.ledger_rows import fill, rows
from benchmarks.result import Figure, Need, Result, sized
from benchmarks.serving import own_database, prepare

FEW = sized(10_000, smoke=500)
ROUNDS, TIMES = sized(3, smoke=1), sized(4, smoke=2)
GOAL, MOST_STATEMENTS = 4.0, 12
# What the seeded entries can be asked for: a word in every one, in a few, in six, and in none; an act of a sixth of
# them and one that happened thrice; and so on. Each is asked for its newest page, and for one far back.
SEARCHES = {
    "everything": "",
    "word in all": "q=refund",
    "word in few": "q=customer12",
    "rare word": "q=3644a684f98ea8fe223c713b77189a77",
    "word by its beginning": "q=order+1200",
    "no such word": "q=nowhere",
    "frequent act": "action=verdict.given",
    "rare act": "action=ledger.exported",
    "group of acts": "action=decisions",
    "person": "actor=person%2F4",
    "person and word": "actor=person%2F4&q=refund",
    "surface": "surface=webhook",
    "fingerprint": "fingerprint=0000",
}


def measure() -> Result:
    """Ask one process for each search over few and over many entries in turn."""
    with own_database():
        prepare()
        from benchmarks.desk_queue import copy_of_database, make_desk

        desk, _, _ = make_desk()
        note_rare_acts()
        fill(FEW)
        with copy_of_database() as few_name:
            fill(rows() - FEW, after=FEW)
            times = {name: in_turn(desk, path, few_name) for name, path in paths().items()}
            statements = max(count_statements(desk, path) for path in paths().values())
            control = unindexed(few_name)
    ratios = {name: many / few for name, (few, many) in times.items()}
    worst = max(ratios, key=lambda name: ratios[name])
    return Result(
        question=__doc__ or "",
        figures=(
            *(Figure(f"{name}, {rows():,}", times[name][1] * 1000, "ms") for name in times),
            Figure(f"{worst}, {FEW:,}", times[worst][0] * 1000, "ms"),
            Figure(f"by ILIKE over {FEW:,}", control[0] * 1000, "ms"),
        ),
        control=Figure(f"by ILIKE over {rows():,}, unindexed", control[1] * 1000, "ms"),
        ratio=ratios[worst],
        goal=GOAL,
        runs=ROUNDS * TIMES,
        at_most=True,
        needs=(Need("statements on the ledger, of a page", statements, MOST_STATEMENTS, at_most=True),),
    )


def paths() -> dict[str, str]:
    """Return every search's address: of its newest page, and of one before most entries."""
    old = datetime.now(UTC) - timedelta(days=399)
    day = f"since={old:%Y-%m-%d}&until={old:%Y-%m-%d}"
    searches = {**SEARCHES, "a day long ago": day, "word in all, a day long ago": f"q=refund&{day}"}
    searches = dict(list(searches.items())[-sized(len(searches), smoke=2) :])
    first = {name: f"/audit/?{query}" for name, query in searches.items()}
    return first | {f"{name}, far back": f"{path}&before=8000" for name, path in first.items()}


def note_rare_acts() -> None:
    """Let something happen three times, long ago."""
    from django.db import transaction

    from audit.recording import record
    from people.actors import worker

    with transaction.atomic():
        for _ in range(3):
            record("ledger.exported", actor=worker("bench"))


def in_turn(client: Any, path: str, few_name: str) -> tuple[float, float]:
    """Return how long the page over few and over many takes, asked for in turn on a machine that is never still."""
    from django.db import connection

    from benchmarks.desk_queue import quickest, timed, use

    names = (few_name, connection.settings_dict["NAME"])
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for name, times in zip(names, found, strict=True):
            use(name)
            answer = client.get(path)
            if answer.status_code != 200 or b"Counting these took too long" in answer.content:
                raise RuntimeError(f"{path} is no page of the ledger: {answer.status_code}")
            times += [timed(lambda: client.get(path)) for _ in range(TIMES)]
    return quickest(found[0]), quickest(found[1])


def count_statements(client: Any, path: str) -> int:
    """Return how many statements of a page read the ledger; its frame has as many of its own as on any page."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        client.get(path)
    return sum('"audit_' in one["sql"] or "audit_entry" in one["sql"] for one in captured)


def unindexed(few_name: str) -> tuple[float, float]:
    """Return how long the newest hundred with a rare word take by reading all details, over few and over many."""
    from django.db import connection

    from audit.models import Entry
    from benchmarks.desk_queue import use

    found = []
    many_name = connection.settings_dict["NAME"]
    for name in (few_name, many_name):
        use(name)
        durations = []
        for _ in range(3):
            began = time.perf_counter()
            list(Entry.objects.filter(detail__fields__icontains='order 1200"').order_by("-id")[:100])
            durations.append(time.perf_counter() - began)
        found.append(statistics.median(durations))
    return found[0], found[1]
