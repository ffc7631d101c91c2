"""Webhooks in any order, repeated, late or concurrent lead to the same mirror as
ordered single ones.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from approvals.intake import ingest
from approvals.models import Decision
from audit.models import Entry
from mirror.models import Message, WebhookEvent
from people.models import Person
from tests.factories import confirm_reports, event_body, make_connection, show_row
from tests.integration.deciding import at_once

# What happened, and the desk's own unconfirmed call.
HISTORIES = [
    (("pending",), ""),
    (("pending", "rejected"), "reject"),
    (("pending", "cancelled"), ""),
    (("pending", "approved", "cancelled"), "approve"),
    (("pending", "approved", "sent", "delivered", "complained"), "approve"),
    (("pending", "approved", "sent", "bounced", "delivered"), ""),
    (("pending", "approved", "sent", "bounced", "complained"), "reject"),
    (("pending", "approved", "bounced", "failed"), ""),
    (("sent", "bounced"), ""),
]
INBOUND = [
    (("received",), ""),
    (("pending", "rejected"), ""),
    (("pending", "approved", "received"), ""),
    (("pending", "received"), ""),
]
DECISIONS = ("approved", "rejected")


@dataclass
class History:
    """The webhooks of one message, oldest first, and the desk's own unconfirmed call."""

    upstream_id: str
    ours: str
    bodies: list[bytes]
    is_announced: bool


def make_history(number, kinds, ours="", *, by_us=False, is_old=False, **fields):
    """`is_old`: a day ago, so that it is stored as late."""
    upstream_id = f"01E{number}"
    first = datetime.now(UTC) - (timedelta(days=1) if is_old else timedelta(minutes=10))
    reason = f"fine countersign:{number}" if by_us else "somebody else's"
    bodies = []
    for index, kind in enumerate(kinds):
        fields["timestamp"] = (first + timedelta(seconds=index)).isoformat()
        if kind in DECISIONS:
            fields |= {"decision": kind, "reason": reason, "decided_by": "operator"}
        kind_of = "oversight" if kind in ("pending", *DECISIONS) else "message"
        bodies.append(event_body(f"{kind_of}.{kind}", email_id=upstream_id, **fields))
    return History(upstream_id, ours, bodies, kinds[0] == "pending" and not is_old)


def receive(connection, body):
    stored = ingest.receive_webhook(
        connection=connection, body=body, secret_used="current"
    )
    assert stored.result != "poison", stored.event and stored.event.error
    return stored.result


def begin_ours(connection, history):
    """Store the message and a decision whose call has an unknown outcome."""
    receive(connection, history.bodies[0])
    message = Message.objects.get(
        connection=connection, upstream_id=history.upstream_id
    )
    show_row(message)
    message.refresh_from_db()
    number = history.upstream_id.removeprefix("01E")
    reviewer, _ = Person.objects.get_or_create(email="ana@yourteam.example")
    Decision.objects.create(
        message=message,
        revision=message.revision,
        outcome=history.ours,
        given_by=reviewer,
        # Reference and attempt are unique, and both are in the reported reason.
        reference=("" if connection.slug == "ordered" else "fine ")
        + f"countersign:{number}",
        state="unknown",
        attempt=1,
        may_have_left=True,
        due_at=datetime.now(UTC),
    )


def mirror_of(connection):
    """Return everything that must be equal in the end."""
    return {
        message.upstream_id: (
            message.state,
            message.subject,
            message.direction,
            message.upstream_decided_by,
            message.held_at,
            list(message.decisions.values_list("outcome", "state")),
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
    kinds = [*HISTORIES, *INBOUND]
    histories = [
        make_history(
            number,
            *kinds[number],
            by_us=chance.random() < 0.5,
            is_old=not kinds[number][1] and chance.random() < 0.25,
            direction="outbound" if number < len(HISTORIES) else "inbound",
        )
        for number in range(len(kinds))
    ]
    ordered = make_connection("ordered")
    shuffled = make_connection("shuffled")
    for connection in (ordered, shuffled):
        for history in histories:
            if history.ours:
                begin_ours(connection, history)
    bodies = [body for history in histories for body in history.bodies]
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
    assert held_announcements(shuffled) == sum(
        history.is_announced
        and (
            bool(history.ours)
            or order.index(history.bodies[0]) == min(map(order.index, history.bodies))
        )
        for history in histories
    )


@pytest.mark.django_db(transaction=True)
def test_webhooks_that_come_twice_at_once_end_in_the_same_mirror():
    kinds = ("pending", "approved", "sent", "delivered")
    histories = [make_history(number, kinds) for number in range(2)]
    ordered = make_connection("ordered")
    hurried = make_connection("hurried")
    bodies = [body for history in histories for body in history.bodies]
    for body in bodies:
        receive(ordered, body)
    orders = [random.Random(seed).sample(bodies, len(bodies)) for seed in range(4)]
    works = [lambda one=one: [receive(hurried, body) for body in one] for one in orders]
    results = [result for found in at_once(*works) for result in found]
    confirm_reports()
    assert mirror_of(hurried) == mirror_of(ordered)
    assert results.count("duplicate") == 24
    assert held_announcements(hurried) <= 2
