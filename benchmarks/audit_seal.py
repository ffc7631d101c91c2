"""Do sixteen writers gain as much over one while the ledger is being sealed as they do without?"""

import multiprocessing
import os
import random
import statistics
import time
import uuid
from collections.abc import Callable
from multiprocessing.synchronize import Barrier, Event
from typing import Any

import psycopg

from benchmarks.ledger_rows import fill, rows
from benchmarks.result import Figure, Need, Result, sized
from benchmarks.serving import own_database, prepare

# Many short turns, each way in every one: what the machine gives changes more from minute to minute than by sealing.
WRITERS, SECONDS = sized(16, smoke=3), sized(4.0, smoke=0.5)
TURNS, CHAINED_TURNS = sized(9, smoke=1), sized(2, smoke=1)
# Oftener than the beat, so that a short run meets several seals.
SEAL_EVERY = sized(1.0, smoke=0.1)
GOAL, CHAINED_GOAL = 0.9, 1.0
# What a ledger does whose rows each hold the hash of the one before: one writer at a time, until it has committed.
_CHAIN = """
CREATE TABLE bench_chain (LIKE audit_entry INCLUDING DEFAULTS INCLUDING INDEXES);
GRANT ALL ON bench_chain TO PUBLIC;
"""
_LINK = """
INSERT INTO bench_chain (id, xid, at, actor_kind, actor_id, surface, action, connection, message, fingerprint, trace,
  detail_hashes, hash)
SELECT nextval('audit_entry_id_seq'), pg_current_xact_id(), clock_timestamp(), 'worker', 'bench', 'worker',
  'message.served', 1, %s, '', '', '{}', encode(sha256((coalesce((SELECT hash FROM bench_chain
    ORDER BY id DESC LIMIT 1), '') || %s)::bytea), 'hex')
"""


def measure() -> Result:
    """Let one process write, and then sixteen, without a sealer, beside one, and in a chain under one lock."""
    with own_database():
        prepare()
        with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
            owner.execute(_CHAIN)
        fill(rows())
        begin_after_these()
        rates = [_turn(is_chained=number < CHAINED_TURNS) for number in range(TURNS)]
        sealed = _check_the_seals()
    rate = {key: statistics.median(turn[key] for turn in rates if key in turn) for key in rates[0]}
    gains = [{name: turn[name, WRITERS] / turn[name, 1] for name, _ in turn} for turn in rates]
    return Result(
        question=__doc__ or "",
        figures=(
            Figure(f"{WRITERS} writers, sealed meanwhile", rate["on", WRITERS], "entries/s"),
            Figure(f"{WRITERS} writers, not sealed", rate["off", WRITERS], "entries/s"),
            Figure("one writer, sealed meanwhile", rate["on", 1], "entries/s"),
            Figure("one writer, not sealed", rate["off", 1], "entries/s"),
            Figure("entries under seals in the end", sealed, ""),
            Figure(f"{WRITERS} writers that chain their rows", rate["chain", WRITERS], "rows/s"),
        ),
        control=Figure("gain of sixteen, not sealed", statistics.median(gain["off"] for gain in gains), "times"),
        ratio=statistics.median(gain["on"] / gain["off"] for gain in gains),
        goal=GOAL,
        runs=TURNS,
        needs=(
            Need(
                f"{WRITERS} sealed over {WRITERS} unsealed",
                statistics.median(turn["on", WRITERS] / turn["off", WRITERS] for turn in rates),
                GOAL,
            ),
            Need(
                "gain, sealed over chained",
                statistics.median(gain["on"] / gain["chain"] for gain in gains if "chain" in gain),
                CHAINED_GOAL,
            ),
        ),
    )


def _turn(*, is_chained: bool) -> dict[tuple[str, int], float]:
    """Return the acts a second of one writer and of sixteen, in each way, one after the other."""
    ways = [("off", _append, _wait_only), ("on", _append, _seal)]
    if is_chained:
        ways.append(("chain", _link, _wait_only))
    turns = [(way, writers) for way in ways for writers in (1, WRITERS)]
    return {
        (name, writers): acts_a_second(act, writers, companion=companion)
        for (name, act, companion), writers in random.sample(turns, len(turns))
    }


def acts_a_second(act: Callable[[], None], writers: int, *, companion: Callable[[Barrier, Event], None]) -> float:
    """Return how many acts these processes commit in a second, together, with one more process beside them."""
    from django.db import connection

    connection.close()
    context = multiprocessing.get_context("fork")
    begin, end, counts = context.Barrier(writers + 2), context.Event(), context.Queue()
    work = [context.Process(target=_write, args=(act, begin, end, counts)) for _ in range(writers)]
    work.append(context.Process(target=companion, args=(begin, end)))
    for process in work:
        process.start()
    begin.wait(timeout=60)
    time.sleep(SECONDS)
    end.set()
    total = sum(counts.get(timeout=30) for _ in range(writers))
    for process in work:
        process.join()
        if process.exitcode:
            raise RuntimeError("a process of the benchmark failed; what it met stands above")
    return float(total / SECONDS)


def _write(act: Callable[[], None], begin: Barrier, end: Event, counts: Any) -> None:
    from django.db import connection, transaction

    connection.ensure_connection()
    begin.wait()
    done = 0
    while not end.is_set():
        with transaction.atomic():
            act()
        done += 1
    counts.put(done)


def _wait_only(begin: Barrier, end: Event) -> None:
    """Wake as often as the sealer: one writer alone is slower on a machine that sleeps between its commits."""
    begin.wait()
    while not end.wait(SEAL_EVERY):
        pass


def _seal(begin: Barrier, end: Event) -> None:
    from audit.sealing.sealer import seal_all

    # What was written while nothing sealed is none of this turn.
    seal_all()
    begin.wait()
    while not end.wait(SEAL_EVERY):
        seal_all()


def _append() -> None:
    from audit.recording import record
    from people.actors import worker

    record("message.served", actor=worker("bench"), connection=1, message=uuid.uuid4(), details={"reason": "As asked."})


def _link() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(1, 1)")
        cursor.execute(_LINK, [uuid.uuid4(), uuid.uuid4().hex])


def begin_after_these() -> None:
    """Let the first seal say that it begins after the rows that were filled in, whose hashes are of nothing."""
    from django.db import transaction

    from audit.models import Entry, Seal
    from audit.sealing.batch import Batch
    from audit.sealing.preconditions import read_database_state

    with transaction.atomic():
        facts = read_database_state()
        last_id = Entry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        fields = {"epoch": 1, "after_id": last_id, "end_xid": facts.horizon, "end_id": last_id}
        Batch(None).seal(facts, kind=Seal.Kind.RESTORED, note="for a benchmark", **fields)


def _check_the_seals() -> int:
    """Return how many entries the last seal covers, after looking that none of the benchmark's is missing."""
    from audit.models import Entry
    from audit.sealing.preconditions import check_end, latest_seal
    from audit.sealing.sealer import seal_all

    while seal_all():
        pass
    last = latest_seal()
    assert last is not None
    check_end(last)
    missing = Entry.objects.filter(pk__gt=last.after_id).count() - last.size
    if missing:
        raise RuntimeError(f"{missing} entries are under no seal")
    return last.size
