"""A connection that fails has one thread: what it cannot do now waits, and holds up no
other connection.

How slots are shared is proven by tests/unit/test_connection_slots.py.
"""

from approvals import tasks
from mirror.models import Connection
from mirror.tasks import ConnectionSlots
from tests.factories import NOW, make_connection, make_message
from tests.integration.deciding import decide


def test_task_without_a_slot_of_its_connection_is_sent_again_decisions_first(
    reviewer, monkeypatch, sent_tasks
):
    monkeypatch.setattr("mirror.tasks.SLOTS", ConnectionSlots(8))
    slow = make_connection("slow")
    well = make_connection("well")
    first, second, elsewhere = (
        make_message(one, hydrated=False) for one in (slow, slow, well)
    )
    decision = decide(make_message(slow), reviewer).decision
    Connection.objects.filter(pk=slow.pk).update(failing_since=NOW)
    sent_tasks.clear()

    def hydrate(message_id, now):
        """What the first does meanwhile takes no thread of the others."""
        if message_id != first.pk:
            return "read"
        return [
            tasks.hydrate(second.pk),
            tasks.execute_decision(decision.pk),
            tasks.hydrate(elsewhere.pk),
        ]

    monkeypatch.setattr("approvals.reconcile.reads.hydrate", hydrate)
    assert tasks.hydrate(first.pk) == ["no room now", "no room now", "read"]
    assert sent_tasks == [
        ("approvals.tasks.execute_decision", decision.pk),
        ("approvals.tasks.hydrate", second.pk),
    ]
