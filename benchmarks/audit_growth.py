"""How much more processor time does what reads or writes the ledger take with ten times the entries?"""

import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.ledger_rows import fill, rows
from benchmarks.processor import spent_by
from benchmarks.result import Figure, Result, sized
from benchmarks.serving import own_database, prepare

# A round takes one of what waits more than so many times.
ROUNDS, TIMES = sized(4, smoke=1), sized(7, smoke=1)
GOAL = 1.2
# Searches that find enough in a tenth: what finds little is counted whole, up to 2,000 entries and 20,000 words.
PAGES = {
    "audit, first page": "/audit/",
    "audit, a word": "/audit/?q=refund",
    "audit, one kind of act": "/audit/?action=verdict.given",
    "message with its history": "/queue/{message}/",
    "trace": "/audit/trace/{message}/",
    "home": "/",
}


def measure() -> Result:
    """Do each thing with a tenth of the entries and with all of them, in turn."""
    with own_database():
        prepare()
        from django.test import Client

        from benchmarks.audit_seal import begin_after_these
        from benchmarks.desk_queue import copy_of_database, use
        from benchmarks.pages import make_desk

        client, (cookie, _) = Client(), make_desk()
        client.cookies.load(cookie)
        few = rows() // 10
        fill(few)
        with copy_of_database() as few_name:
            fill(rows() - few, after=few)
            names = few_name, _name()
            for name in names:
                use(name)
                begin_after_these()
            found = {what: _in_turn(act, names) for what, act in _things(client).items()}
    ratios = {what: many / few for what, (few, many) in found.items()}
    worst = max(ratios, key=lambda what: ratios[what])
    return Result(
        question=__doc__ or "",
        figures=(
            *(Figure(f"{what}, {rows():,}", many, "ms") for what, (_, many) in found.items()),
            *(Figure(f"{what}, over a tenth", ratio, "times") for what, ratio in ratios.items()),
        ),
        control=Figure(f"{worst}, {few:,}", found[worst][0], "ms"),
        ratio=ratios[worst],
        goal=GOAL,
        runs=ROUNDS * TIMES,
        at_most=True,
    )


def _name() -> str:
    from django.db import connection

    return str(connection.settings_dict["NAME"])


def _things(client: Any) -> dict[str, Callable[[], object]]:
    """Return what reads the ledger, and what writes it."""
    from django.db import transaction

    from audit.sealing.sealer import seal_all
    from benchmarks import audit_append
    from mirror.models import Message

    record = transaction.atomic(audit_append.record_one)
    message = Message.objects.order_by("pk").values_list("public_id", flat=True)[0]

    def page(path: str) -> Callable[[], object]:
        return lambda: _answered(client.get(path.format(message=message)))

    return {
        **{what: page(path) for what, path in PAGES.items()},
        "an entry": record,
        "an entry and its seal": lambda: (record(), seal_all()),
        "a verdict": _give_verdict,
    }


def _answered(answer: Any) -> None:
    if answer.status_code != 200:
        raise RuntimeError(f"no page: {answer.status_code}")


def _give_verdict() -> None:
    """Reject the next message that waits."""
    from approvals.decisions.decide import give_verdict
    from mirror.models import Message
    from people.models import Person

    message = Message.objects.select_related("revision").filter(state="held", decisions=None).order_by("pk")[0]
    give_verdict(
        message=message.public_id,
        actor=Person.objects.get().actor(surface="web"),
        outcome="reject",
        fingerprint=message.revision.fingerprint,
        reason="It is not as asked.",
    )


def _in_turn(act: Callable[[], object], names: tuple[str, str]) -> tuple[float, float]:
    """Return the milliseconds of processor time that an act takes over few and over many entries."""
    from benchmarks.desk_queue import use

    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(1 + ROUNDS):
        for name, times in zip(names, found, strict=True):
            use(name)
            act()
            times.append(_cost(act))
    # In the first round statements are prepared and caches are filled.
    few, many = (statistics.median(times[1:]) for times in found)
    return few, many


def _cost(act: Callable[[], object]) -> float:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        session = cursor.fetchone()[0]
    began = time.process_time() * 1000 + spent_by(session)
    for _ in range(TIMES):
        act()
    return (time.process_time() * 1000 + spent_by(session) - began) / TIMES
