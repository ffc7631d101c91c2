"""How much faster is a rehearsal on 100,000 messages than plain Python that judges one message after the other?

Of changes of an allowlist, and of changes of the policy: its rules ask for all that can be asked of a message.
"""

import statistics
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from benchmarks.policy_change import POLICIES, changes_of_the_policy, one_by_one, rehearsed_policy
from benchmarks.result import Figure, Need, Result, sized
from benchmarks.serving import own_database, prepare

MESSAGES, ENTRIES = sized(100_000, smoke=300), sized(10_000, smoke=1_000)
PEOPLE, DOMAINS = 20_000, 2_000
ROUNDS = sized(7, smoke=1)
GOAL, MOST_SECONDS = 5.0, 1.0


def measure() -> Result:
    """Rehearse changes of a list and of the policy in turn, and two in plain Python, which must tell the same."""
    with own_database():
        prepare()
        from benchmarks.desk_queue import make_desk
        from benchmarks.sent_rows import add_entries, fill, vary

        _, connection, mailboxes = make_desk()
        fill(connection, mailboxes, number=MESSAGES, people=PEOPLE, domains=DOMAINS)
        vary()
        actor, scope, version = set_up(connection)
        add_entries(version, first=1, last=ENTRIES)
        changes = changes_to_try()
        policies = changes_of_the_policy(mailboxes, version)
        times: dict[str, list[float]] = {name: [] for name in (*changes, *policies)}
        for _ in range(ROUNDS):
            for name, change in changes.items():
                times[name].append(timed(lambda change=change: rehearsed(actor, scope, change)))
            for name, policy in policies.items():
                times[name].append(timed(lambda policy=policy: rehearsed_policy(actor, *policy)))
        check_policy(actor, policies[POLICIES[0]])
        name = max(changes, key=lambda name: statistics.median(times[name]))
        plain: list[Any] = []
        control = timed(lambda: plain.append(in_plain_python(scope, changes[name])))
        if plain[0] != (result := rehearsed(actor, scope, changes[name])):
            raise RuntimeError(f"plain Python says {plain[0]}, the rehearsal {result}")
    worst = statistics.median(times[name])
    slowest = max(map(statistics.median, times.values()))
    return Result(
        question=(__doc__ or "").partition("\n")[0],
        figures=tuple(Figure(f"{one}", statistics.median(durations) * 1000, "ms") for one, durations in times.items()),
        control=Figure(f"plain Python: {name}", control * 1000, "ms"),
        ratio=control / worst,
        goal=GOAL,
        runs=ROUNDS,
        needs=(Need("seconds of the slowest", slowest, MOST_SECONDS, at_most=True),),
    )


def check_policy(actor: Any, policy: tuple[Any, Any]) -> None:
    """Raise RuntimeError where the rehearsal of the policy tells something else than each message by itself."""
    if (found := rehearsed_policy(actor, *policy)) != (plain := one_by_one(*policy)):
        raise RuntimeError(f"one by one says {plain}, the rehearsal of the policy {found}")


def set_up(connection: int) -> tuple[Any, Any, int]:
    """Make a list for the connection that is in force; return who changes it, where, and its key."""
    from people.actors import Actor, Role, Scope
    from policy.allowlists.judgement import ListScope
    from policy.models import Allowlist

    actor = Actor(kind="person", id="1", label="Ruth", surface="web", scopes=(Scope(Role.ADMIN),))
    made = Allowlist.objects.create(connection_id=connection, kind="restriction", mode="enforce", version=1)
    return actor, ListScope(connection=connection), made.pk


def changes_to_try() -> dict[str, Any]:
    """Return a change of a few entries, one of many, and one of the mode."""
    from policy.allowlists.changes import Change, WantedEntry

    many = tuple(f"customer{number}.example" for number in range(2, 1000, 2))
    return {
        "one domain taken out": Change(remove=many[:1]),
        "500 taken out, a wide one put in": Change(remove=many, put=(WantedEntry("*.example.com"),)),
        "the list switched off": Change(mode="off"),
    }


def rehearsed(actor: Any, scope: Any, change: Any) -> tuple[int, int, int]:
    """Return what a rehearsal tells: how many it looked at, how many more are refused, how many fewer."""
    from django.utils import timezone

    from policy.allowlists.rehearsal import rehearse

    result = rehearse(scope=scope, change=change, actor=actor, now=timezone.now())
    return result.looked_at, result.more, result.fewer


def in_plain_python(scope: Any, change: Any) -> tuple[int, int, int]:
    """Do the same as anybody would write it: read every message, and judge it before and after."""
    from django.utils import timezone

    from mirror.models import Message
    from mirror.recipients import written_to_in
    from policy.allowlists.judgement import judge

    now = timezone.now()
    before, after = lists_of(scope, change, now)
    counts = [0, 0, 0]
    for message in Message.objects.filter(connection=scope.connection).select_related("revision").iterator():
        recipients = written_to_in(message.revision) if message.revision else ()
        was, becomes = (bool(judge(recipients, lists, None, now).refused) for lists in (before, after))
        counts[0] += 1
        counts[1] += becomes and not was
        counts[2] += was and not becomes
    return counts[0], counts[1], counts[2]


def lists_of(scope: Any, change: Any, now: datetime) -> tuple[list[Any], list[Any]]:
    """Return the one list as it is, and as it would be."""
    from policy.allowlists.judgement import ApplicableList, Entry
    from policy.models import AllowEntry

    entries = {one: Entry(one) for one in AllowEntry.objects.values_list("pattern", flat=True)}
    other = {one: entry for one, entry in entries.items() if one not in change.remove}
    other |= {one.pattern: Entry(one.pattern) for one in change.put}
    mode = change.mode or "enforce"
    return [ApplicableList(1, "Bench", "enforce", 1, entries)], [ApplicableList(1, "Bench", mode, 1, other)]


def timed(act: Callable[[], object]) -> float:
    """Return how long it takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
