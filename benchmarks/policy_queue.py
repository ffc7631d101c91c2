"""How much longer does a page of the queue take with 200 rules in force, some of which ask for two, than without?"""

from benchmarks.result import Figure, Need, Result, sized
from benchmarks.serving import own_database

WAITING = sized(10_000, smoke=100)
ROUNDS, TIMES = sized(12, smoke=1), sized(5, smoke=2)
GOAL, MOST_QUERIES = 1.2, 14
PATH = "/queue/"


def measure() -> Result:
    """Ask one process for the page over two copies of one database, in turn."""
    with own_database():
        from benchmarks.desk_queue import copy_of_database, count_queries, fill, in_turn, make_desk, prepare_with_admin
        from benchmarks.ruling import add_rules

        prepare_with_admin()
        from policy.models import Allowlist

        desk, connection, mailboxes = make_desk()
        fill(connection, mailboxes, first=1, last=WAITING)
        with copy_of_database() as without:
            add_rules(Allowlist.objects.create(connection_id=connection, kind="restriction", mode="enforce").pk)
            before, after = in_turn(desk, PATH, without)
            queries = count_queries(desk, PATH)
    return Result(
        question=__doc__ or "",
        figures=(
            Figure(f"{PATH}, 200 rules", after * 1000, "ms"),
            Figure(f"{PATH}, no rule", before * 1000, "ms"),
        ),
        control=Figure(f"{PATH}, no rule", before * 1000, "ms"),
        ratio=after / before,
        goal=GOAL,
        runs=ROUNDS * TIMES,
        at_most=True,
        needs=(Need("queries of a page", queries, MOST_QUERIES, at_most=True),),
    )
