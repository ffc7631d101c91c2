"""Who may use the worker's threads: no connection may hold up another.

That a job without a slot is sent again: tests/integration/test_workers.py.
"""

from contextlib import ExitStack

from mirror import tasks
from mirror.tasks import KEPT_FREE, ConnectionSlots

READ = "tasks.hydrate"
DECIDE = "tasks.execute_decision"


def fill(stack, shared, connection, *, is_well=True, is_urgent=True):
    """Let jobs of one connection come until none gets in, and return how many did."""
    entries = [
        stack.enter_context(
            shared.enter(
                connection,
                (DECIDE if is_urgent else READ, key),
                is_well=is_well,
                is_urgent=is_urgent,
            )
        )
        for key in range(20)
    ]
    return sum(freed is not None for freed in entries)


def test_connection_leaves_threads_to_the_others_and_reads_leave_some_to_decisions():
    with ExitStack() as stack:
        shared = ConnectionSlots(8)
        assert [fill(stack, shared, connection) for connection in (1, 2, 3)] == [
            8 - KEPT_FREE,
            1,
            1,
        ]
    with ExitStack() as stack:
        shared = ConnectionSlots(8)
        assert fill(stack, shared, 1, is_urgent=False) == 2
        assert fill(stack, shared, 1) == 3
    # A connection that fails has one.
    with ExitStack() as stack:
        assert fill(stack, ConnectionSlots(8), 1, is_well=False) == 1


def test_slow_connection_has_two_slots_until_it_is_fast_again(monkeypatch):
    shared = ConnectionSlots(8)
    times = iter([0.0, tasks.SLOW + 1, 10.0, 10.1])
    monkeypatch.setattr(tasks.time, "monotonic", lambda: next(times))
    with shared.enter(1, (READ, 1), is_well=True, is_urgent=False):
        pass
    monkeypatch.setattr(tasks.time, "monotonic", lambda: 10.0)
    with ExitStack() as stack:
        assert fill(stack, shared, 1) == 2
        assert fill(stack, shared, 2) > 2
    with ExitStack() as stack:
        assert fill(stack, shared, 1) == 5


def test_connection_that_fails_is_still_read_however_many_decisions_are_due():
    shared = ConnectionSlots(threads=8)
    with shared.enter(1, (DECIDE, 1), is_well=False, is_urgent=True) as first:
        for number in range(2, 6):
            with shared.enter(
                1, (DECIDE, number), is_well=False, is_urgent=True
            ) as freed:
                assert freed is None
        with shared.enter(1, (READ, 1), is_well=False, is_urgent=False) as reading:
            assert reading is not None
            with shared.enter(1, (READ, 2), is_well=False, is_urgent=False) as second:
                assert second is None
    assert (READ, 2) in (*reading, *first), (
        "what reads is not handed out after all decisions"
    )
