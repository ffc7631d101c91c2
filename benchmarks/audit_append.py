"""How much longer does an act take whose entry is recorded than one that only inserts the same rows, bare?"""

import os
import random
import statistics
import time
import uuid
from collections.abc import Callable
from typing import Any

import psycopg
import psycopg.types.json

from benchmarks.ledger_rows import fill, rows
from benchmarks.result import Figure, Result, is_smoke, sized
from benchmarks.serving import own_database, prepare

ROUNDS, A_ROUND = sized(40, smoke=1), 50
GOAL = 1.25
# The same tables without the product: every index and the reference from the details, none of the triggers.
_COPY = """
CREATE TABLE bench_entry (LIKE audit_entry INCLUDING DEFAULTS INCLUDING INDEXES);
CREATE TABLE bench_detail (LIKE audit_entrydetail INCLUDING INDEXES);
ALTER TABLE bench_detail ADD FOREIGN KEY (entry_id) REFERENCES bench_entry (id) DEFERRABLE INITIALLY DEFERRED;
ALTER INDEX bench_detail_words_idx SET (gin_pending_list_limit = 1024);
GRANT ALL ON bench_entry, bench_detail TO PUBLIC;
"""
DETAILS = {"subject": "Your refund for order 4471", "recipients": "dana@northwind.example", "reason": "It is as asked."}


def measure() -> Result:
    """Record in the product's ledger and insert into a copy of its tables, in turns, each act committed durably."""
    with own_database():
        prepare()
        with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
            owner.execute(_COPY)
        fill(rows())
        fill(rows(), entry="bench_entry", detail="bench_detail")
        _insist_on_durability()
        recorded: list[float] = []
        bare: list[float] = []
        insert = bare_insert()
        for seconds, act in ((recorded, record_one), (bare, insert)):
            timed(act, 100)
            seconds.clear()
        for _ in range(ROUNDS):
            for seconds, act in random.sample([(recorded, record_one), (bare, insert)], 2):
                seconds += timed(act, A_ROUND)
    ours, control = statistics.median(recorded), statistics.median(bare)
    return Result(
        question=__doc__ or "",
        figures=(
            Figure(f"recorded, with {rows():,} before it", ours * 1_000_000, "µs"),
            Figure("recorded, 95 of 100", statistics.quantiles(recorded, n=20)[-1] * 1_000_000, "µs"),
            Figure("bare, 95 of 100", statistics.quantiles(bare, n=20)[-1] * 1_000_000, "µs"),
        ),
        control=Figure("bare insert of both rows", control * 1_000_000, "µs"),
        ratio=ours / control,
        goal=GOAL,
        runs=ROUNDS * A_ROUND,
        at_most=True,
    )


def timed(act: Callable[[], None], number: int) -> list[float]:
    """Return how long each of so many acts took, with its transaction."""
    from django.db import transaction

    seconds = []
    for _ in range(number):
        began = time.perf_counter()
        with transaction.atomic():
            act()
        seconds.append(time.perf_counter() - began)
    return seconds


def record_one() -> None:
    """Record an entry with details in the transaction of whoever calls."""
    from audit.recording import record
    from people.actors import worker

    record("message.served", actor=worker("bench"), connection=1, message=uuid.uuid4(), details=DETAILS)


def bare_insert() -> Callable[[], None]:
    """Return the least that could be done: two rows whose values are known, sent in one go."""
    from django.db import connection

    from audit.recording import found_by

    values: dict[str, Any] = {
        "hash": "0" * 64,
        "hashes": psycopg.types.json.Json(dict.fromkeys((*DETAILS, "actor"), "0" * 64)),
        "salt": b"0" * 16,
        "fields": psycopg.types.json.Json({**DETAILS, "actor": "the bench worker"}),
        "words": found_by({**DETAILS, "actor": "the bench worker"}),
    }
    sql = (
        "INSERT INTO bench_entry (id, xid, at, actor_kind, actor_id, surface, action, connection, message, fingerprint,"
        " trace, detail_hashes, mac, hash) VALUES (nextval('audit_entry_id_seq'), pg_current_xact_id(),"
        " clock_timestamp(), 'worker', 'bench', 'worker', 'message.served', 1, %(message)s, '', '', %(hashes)s,"
        " %(mac)s, %(hash)s);"
        "INSERT INTO bench_detail (entry_id, salt, fields, words) VALUES (currval('audit_entry_id_seq'), %(salt)s,"
        " %(fields)s, %(words)s)"
    )

    def insert() -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql, {**values, "message": uuid.uuid4(), "mac": uuid.uuid4().hex * 2})

    return insert


def _insist_on_durability() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        for name in ("fsync", "synchronous_commit"):
            cursor.execute(f"SHOW {name}")
            if cursor.fetchone()[0] != "on" and not is_smoke():
                raise RuntimeError(f"{name} is off: what is measured would not be kept")
