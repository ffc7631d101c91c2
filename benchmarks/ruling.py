"""How much longer does one ruling take with 100,000 entries on an allowlist and 200 rules than with 100 and none?"""

import random
import statistics
import time
from typing import Any

from benchmarks.result import Figure, Need, Result, sized
from benchmarks.serving import own_database, prepare

FEW, MANY, MESSAGES = 100, sized(100_000, smoke=200), sized(2_000, smoke=50)
ROUNDS, A_ROUND = sized(20, smoke=1), sized(250, smoke=20)
RULES = 200
GOAL, MOST_MS = 2.0, 2.0
_OFFICE = {"days": [0, 1, 2, 3, 4], "opens": "09:00", "closes": "17:00", "zone": "Europe/Berlin"}


def measure() -> Result:
    """Rule on the same messages over the short list and the long one in turn, with every question to the database."""
    with own_database():
        prepare()
        from benchmarks.desk_queue import copy_of_database, make_desk, use
        from benchmarks.sent_rows import add_entries, fill

        _, connection, mailboxes = make_desk()
        fill(connection, mailboxes, number=MESSAGES, people=1000, domains=200)
        actor, list_id = set_up(connection)
        add_entries(list_id, first=1, last=FEW)
        with copy_of_database() as few_name:
            add_entries(list_id, first=FEW + 1, last=MANY)
            add_rules(list_id)
            from django.db import connection as database

            names = {FEW: few_name, MANY: str(database.settings_dict["NAME"])}
            times: dict[int, list[float]] = {FEW: [], MANY: []}
            for _ in range(ROUNDS):
                for number, name in names.items():
                    use(name)
                    times[number] += rulings(actor)
    few, many = (statistics.quantiles(times[number], n=100)[98] for number in (FEW, MANY))
    return Result(
        question=__doc__ or "",
        figures=(
            Figure(f"{MANY:,} entries and {RULES} rules, 99th percentile", many * 1000, "ms"),
            Figure(f"{MANY:,} entries and {RULES} rules, median", statistics.median(times[MANY]) * 1000, "ms"),
            Figure(f"{FEW} entries, median", statistics.median(times[FEW]) * 1000, "ms"),
        ),
        control=Figure(f"{FEW} entries, 99th percentile", few * 1000, "ms"),
        ratio=many / few,
        goal=GOAL,
        runs=ROUNDS * A_ROUND,
        at_most=True,
        needs=(Need("milliseconds of the 99th percentile", many * 1000, MOST_MS, at_most=True),),
    )


def set_up(connection: int) -> tuple[Any, int]:
    """Hold the messages, and make a list that is in force; return a reviewer and the list's key."""
    from mirror.models import Message
    from people.actors import Actor, Role, Scope
    from policy.models import Allowlist

    Message.objects.update(state="held")
    made = Allowlist.objects.create(connection_id=connection, kind="restriction", mode="enforce", version=1)
    return Actor(kind="person", id="1", label="Ana", surface="web", scopes=(Scope(Role.REVIEWER),)), made.pk


def add_rules(list_id: int) -> None:
    """Put 200 rules in force, each with other conditions, a few of which apply to any one message."""
    from django.utils import timezone

    from policy.models import Group, PolicyVersion
    from policy.rules.rules import rules_from_json

    group = Group.objects.create(name="Finance")
    kinds: tuple[dict[str, Any], ...] = (
        {"recipients": ["*.gov", "tax.example"], "amount": "1000"},
        {"recipients_except": ["example.com", "yourteam.example"], "risk": "high"},
        {"lists": [list_id], "attachments": ["pdf"], "first_contact": True},
        {"findings": ["secret_in_body"], "recipients_from": 3, "origins": ["discord"]},
        {"own_words": ["invoice"], "outside": _OFFICE, "tries_from": 2},
    )
    rules = [
        {
            "id": f"r{number}",
            "name": f"Rule {number}",
            "when": {**kinds[number % len(kinds)], "recipients_from": 1 + number % 7},
            "then": {"approvals": {str(group.pk): 1 + number % 2}, "never_in_bulk": True},
        }
        for number in range(RULES)
    ]
    rules_from_json(rules)
    PolicyVersion.objects.create(number=1, state="active", rules=rules, activated_at=timezone.now())


def rulings(actor: Any) -> list[float]:
    """Rule on some messages, and return how long each took; the first few, which open the connection, are left out."""
    from django.utils import timezone

    from approvals.decisions.ruling import ruling_for
    from mirror.models import Message

    messages = list(Message.objects.with_content().select_related("connection").order_by("pk"))
    now, durations = timezone.now(), []
    for number, message in enumerate(random.choices(messages, k=A_ROUND + 10)):
        began = time.perf_counter()
        ruling_for(message, actor=actor, now=now)
        if number >= 10:
            durations.append(time.perf_counter() - began)
    return durations
