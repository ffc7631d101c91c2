"""Webhooks in any order, repeated, late or concurrent lead to the same mirror as
ordered single ones.
"""

import random
from datetime import UTC, datetime, timedelta

import pytest

from approvals.intake import ingest
from audit.models import Entry
from mirror.models import Message, WebhookEvent
from tests.factories import confirm_reports, event_body, make_connection
from tests.integration.deciding import at_once

OUTBOUND = [
    ("pending",),
    ("pending", "rejected"),
    ("pending", "cancelled"),
    ("pending", "approved", "cancelled"),
    ("pending", "approved", "sent", "delivered", "complained"),
    ("pending", "approved", "sent", "bounced", "delivered"),
    ("pending", "approved", "sent", "bounced", "complained"),
    ("pending", "approved", "bounced", "failed"),
    ("sent", "bounced"),
]
INBOUND = [
    ("received",),
    ("pending", "rejected"),
    ("pending", "approved", "received"),
    ("pending", "received"),
]
DECISIONS = ("approved", "rejected")


def bodies_of(number, kinds, *, is_old=False, **fields):
    """Return the webhooks of one message, oldest first. `is_old`: a day ago, so that
    they are stored as late.
    """
    first = datetime.now(UTC) - (timedelta(days=1) if is_old else timedelta(minutes=10))
    bodies = []
    for index, kind in enumerate(kinds):
        fields["timestamp"] = (first + timedelta(seconds=index)).isoformat()
        if kind in DECISIONS:
            fields |= {"decision": kind, "reason": "Fine", "decided_by": "operator"}
        kind_of = "oversight" if kind in ("pending", *DECISIONS) else "message"
        bodies.append(
            event_body(f"{kind_of}.{kind}", email_id=f"01E{number}", **fields)
        )
    return bodies


def receive(connection, body):
    stored = ingest.receive_webhook(
        connection=connection, body=body, secret_used="current"
    )
    assert stored.result != "poison", stored.event and stored.event.error
    return stored.result


def mirror_of(connection):
    """Return everything that must be equal in the end."""
    return {
        message.upstream_id: (
            message.state,
            message.subject,
            message.direction,
            message.upstream_decided_by,
            message.held_at,
        )
        for message in Message.objects.filter(connection=connection)
    }


def held_announcements(connection):
    return Entry.objects.filter(connection=connection.pk, action="message.held").count()


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))]
)
def test_webhooks_in_any_order_end_in_the_same_mirror(seed):
    chance = random.Random(seed)
    kinds = [*OUTBOUND, *INBOUND]
    is_old = [chance.random() < 0.25 for _ in kinds]
    histories = [
        bodies_of(
            number,
            kinds[number],
            is_old=is_old[number],
            direction="outbound" if number < len(OUTBOUND) else "inbound",
        )
        for number in range(len(kinds))
    ]
    ordered = make_connection("ordered")
    shuffled = make_connection("shuffled")
    bodies = [body for history in histories for body in history]
    for body in bodies:
        receive(ordered, body)
    order = chance.sample([*bodies, *chance.choices(bodies, k=5)], len(bodies) + 5)
    confirm_reports()
    for body in order:
        receive(shuffled, body)
    confirm_reports()
    assert mirror_of(shuffled) == mirror_of(ordered)
    assert WebhookEvent.objects.filter(connection=shuffled).count() == len(bodies)
    # Held mail is announced only if that was the first event.
    first = [min(history, key=order.index) for history in histories]
    assert held_announcements(shuffled) == sum(
        kinds[number][0] == "pending"
        and not is_old[number]
        and first[number] == history[0]
        for number, history in enumerate(histories)
    )


@pytest.mark.django_db(transaction=True)
def test_webhooks_that_come_twice_at_once_end_in_the_same_mirror():
    kinds = ("pending", "approved", "sent", "delivered")
    bodies = [*bodies_of(1, kinds), *bodies_of(2, kinds)]
    ordered = make_connection("ordered")
    hurried = make_connection("hurried")
    for body in bodies:
        receive(ordered, body)
    orders = [random.Random(seed).sample(bodies, len(bodies)) for seed in range(4)]
    works = [lambda one=one: [receive(hurried, body) for body in one] for one in orders]
    results = [result for found in at_once(*works) for result in found]
    confirm_reports()
    assert mirror_of(hurried) == mirror_of(ordered)
    assert results.count("duplicate") == 24
    assert held_announcements(hurried) <= 2
