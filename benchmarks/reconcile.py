"""How many rows does reading a list of 10,000 held messages write, where nothing is new in it?"""

import json
import statistics
import time
from typing import Any

from django.db import connection as database
from django.db import transaction

from benchmarks.caps import without_caps
from benchmarks.result import Figure, Result, sized
from benchmarks.serving import own_database, prepare
from benchmarks.slow_multimail import MAILBOX, row

HELD, RUNS = sized(10_000, smoke=50), sized(3, smoke=1)


def measure() -> Result:
    """Count what each read writes, in the transaction that it is measured in, by PostgreSQL's own counters."""
    with own_database():
        prepare()
        from tests.standin import multimail

        with multimail() as upstream:
            connection = make_connection(upstream.url)
            rows = [row(f"01BENCH{number:08}") for number in range(HELD)]
            mirror(connection, rows)
            hold(upstream, rows)
            read(connection)
            whole = [read(connection) for _ in range(RUNS)]
            listed = [timed(lambda: ask(connection)) for _ in range(RUNS)]
            hold(upstream, [*rows[:-1], row(rows[-1]["id"], subject="Another subject")])
            _, of_one, _ = read(connection)
        database.close()
    written = max(count for _, count, _ in whole)
    return Result(
        question=__doc__ or "",
        figures=(
            Figure("rows written, without the connection's", written, "rows"),
            Figure("writes to the connection's own row", max(own for _, _, own in whole), "writes"),
            Figure("rows written where one had changed", of_one, "rows"),
            Figure("the whole read", statistics.median(seconds for seconds, _, _ in whole), "s"),
            Figure("of it asking and parsing", statistics.median(listed), "s"),
        ),
        control=Figure("held messages in the list", HELD, "rows"),
        ratio=written / HELD,
        goal=0.0,
        runs=RUNS,
        at_most=True,
    )


def hold(upstream: Any, rows: list[dict[str, Any]]) -> None:
    """Let the stand-in answer with these rows, written once."""
    upstream.answers["/v1/oversight/pending"] = (200, json.dumps({"pending": rows, "cursor": None}).encode())


def make_connection(url: str) -> Any:
    """Make a connection to the stand-in."""
    from mirror.models import Connection, Mailbox

    connection = Connection.objects.create(
        slug="bench",
        name="Bench",
        api_url=url,
        webhook_secret="none",
        oversight_key="mm_live_bench",
        is_our_gateway=True,
    )
    without_caps(Mailbox.objects.create(connection=connection, upstream_id=MAILBOX["id"], address=MAILBOX["address"]))
    return connection


def mirror(connection: Any, rows: list[dict[str, Any]]) -> None:
    """Mirror all rows at once, as reading them one by one would have left them."""
    from dataclasses import asdict

    from common.fingerprint import fingerprint
    from common.postgres import clock
    from mirror.models import Message, Revision
    from mirror.store import content_of

    now = clock()
    messages = Message.objects.bulk_create(
        Message(connection=connection, upstream_id=one["id"], state="held", held_at=now, hydrated_at=now)
        for one in rows
    )
    revisions = []
    for message, one in zip(messages, rows, strict=True):
        content = content_of(one)
        stored = asdict(content)
        coverage = stored.pop("coverage")
        revisions.append(
            Revision(message=message, number=1, content=stored, coverage=coverage, fingerprint=fingerprint(content))
        )
    for message, revision in zip(messages, Revision.objects.bulk_create(revisions), strict=True):
        message.revision = revision
    Message.objects.bulk_update(messages, ["revision"], batch_size=1000)


def read(connection: Any) -> tuple[float, int, int]:
    """Read the whole list; return the seconds, the rows written, and the writes to the connection's row."""
    from approvals.reconcile.reads import read_everything
    from common.postgres import clock
    from mirror.models import Connection

    Connection.objects.update(read_at=None)
    with transaction.atomic():
        before, own_before = writes()
        began = time.monotonic()
        result = read_everything(connection_id=connection.pk, now=clock())
        seconds = time.monotonic() - began
        after, own = writes()
    if result != f"{HELD} held":
        raise RuntimeError(f"the list was not read: {result}")
    return seconds, after - before, own - own_before


def writes() -> tuple[int, int]:
    """Return what this transaction has written so far: all rows but the connection's, and the connection's."""
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT relname = 'mirror_connection', sum(n_tup_ins + n_tup_upd + n_tup_del)::int"
            " FROM pg_stat_xact_user_tables GROUP BY 1"
        )
        counted = dict(cursor.fetchall())
    return counted.get(False, 0), counted.get(True, 0)


def ask(connection: Any) -> None:
    """Ask for the list and parse it, no more."""
    from upstream.client import Client

    Client(base_url=connection.api_url, key=connection.oversight_key).list_pending()


def timed(work: Any) -> float:
    """Return how long it takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began
