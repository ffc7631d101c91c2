"""Webhooks in any order, repeated, late or concurrent lead to the same mirror as
ordered single ones.
"""

import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.intake import ingest
from approvals.models import Decision
from audit.models import Entry
from mirror.models import Message, WebhookEvent
from people.models import Person
from tests.factories import (
    MAILBOX,
    confirm_reports,
    make_connection,
    pending_row,
    rolled_back,
    show_row,
)
from tests.integration.deciding import at_once

OUTBOUND = [
    ("pending",),
    ("pending", "rejected"),
    ("pending", "cancelled"),
    ("pending", "approved"),
    ("pending", "approved", "cancelled"),
    ("pending", "approved", "sent"),
    ("pending", "approved", "sent", "delivered"),
    ("pending", "approved", "sent", "delivered", "complained"),
    ("pending", "approved", "sent", "bounced"),
    ("pending", "approved", "sent", "bounced", "delivered"),
    ("pending", "approved", "sent", "bounced", "complained"),
    ("pending", "approved", "bounced", "failed"),
    ("pending", "approved", "failed"),
    ("sent", "delivered"),
    ("sent", "bounced"),
]
INBOUND = [
    ("received",),
    ("pending", "rejected"),
    ("pending", "approved"),
    ("pending", "approved", "received"),
    ("pending", "received"),
]
SPELLINGS = {
    "received": ["message.received", "email.received", "inbound"],
    "sent": ["message.sent", "email.sent"],
    "delivered": ["message.delivered", "email.delivered", "delivery"],
    "bounced": ["message.bounced", "email.bounced", "bounce"],
    "complained": ["message.complained", "email.complained", "complaint"],
    "pending": [
        "oversight.pending",
        "message.pending_approval",
        "email.pending",
        "message.pending_send_approval",
    ],
    "approved": [
        "oversight.approved",
        "message.approved",
        "email.approved",
        "email.decided",
    ],
    "rejected": [
        "oversight.rejected",
        "message.rejected",
        "email.rejected",
        "multimail/email.decided",
    ],
    "cancelled": ["message.cancelled"],
    "failed": ["message.failed"],
}
DIALECTS = ("A", "B", "C", "D", "hybrid")


@dataclass
class History:
    """The events of one message, oldest first, and their webhooks. `ours`: the desk's
    own unconfirmed call.
    """

    upstream_id: str
    kinds: tuple[str, ...]
    is_inbound: bool
    ours: str
    bodies: list[bytes] = field(default_factory=list)
    is_old: bool = False
    begins_with_time: bool = True
    has_all_times: bool = True
    last_status: str = ""


@st.composite
def histories(draw):
    return [draw(history(number)) for number in range(draw(st.integers(1, 2)))]


@st.composite
def history(draw, number):
    is_inbound = draw(st.booleans()) and draw(st.booleans())
    kinds = draw(st.sampled_from(INBOUND if is_inbound else OUTBOUND))
    decided = not is_inbound and len(kinds) > 1 and kinds[1] in ("approved", "rejected")
    ours = draw(st.sampled_from(["", "approve", "reject"])) if decided else ""
    history = History(f"01E{number}", kinds, is_inbound, ours)
    # Some are a day old: stored as late, with the same result.
    age = (
        timedelta(minutes=10) if ours or draw(st.integers(0, 3)) else timedelta(days=1)
    )
    history.is_old = age > timedelta(hours=1)
    by_us = bool(draw(st.booleans()))
    for index, kind in enumerate(kinds):
        at = datetime.now(UTC) - age + timedelta(seconds=index)
        dialect = draw(st.sampled_from(DIALECTS))
        history.has_all_times = history.has_all_times and dialect not in "BC"
        history.begins_with_time = history.begins_with_time and (
            index > 0 or dialect not in "BC"
        )
        # If the last event is not the message's final one, its status is arbitrary.
        is_end = not is_inbound and "bounced" not in kinds[:index]
        history.last_status = f"status_{kind}" if dialect == "hybrid" and is_end else ""
        reason = f"fine countersign:{number}" if by_us else "somebody else's"
        facts = facts_of(history, kind, index, at=draw_time(draw, at), reason=reason)
        history.bodies.append(
            json.dumps(
                envelope(dialect, draw(st.sampled_from(SPELLINGS[kind])), facts)
            ).encode()
        )
    return history


def draw_time(draw, at):
    return draw(
        st.sampled_from([at.isoformat(), int(at.timestamp() * 1000), at.timestamp()])
    )


def facts_of(history, kind, index, *, at, reason):
    decided = next(
        (
            kind
            for kind in history.kinds[: index + 1]
            if kind in ("approved", "rejected")
        ),
        "",
    )
    return {
        "event_id": f"{history.upstream_id}-{index}",
        "timestamp": at,
        "id": history.upstream_id,
        "email_id": history.upstream_id,
        "message_id": history.upstream_id,
        "thread_id": "01THREAD",
        "mailbox": MAILBOX["address"],
        "mailbox_id": MAILBOX["upstream_id"],
        "from": MAILBOX["address"],
        "to": ["dana@northwind.example", "kim@northwind.example"],
        "subject": "Your refund for order 4471",
        "direction": "inbound" if history.is_inbound else "outbound",
        "status": f"status_{kind}",
        "metadata": {"discord_user": "ana#1", "run_id": 7},
        **(
            {"decision": decided, "reason": reason, "decided_by": "operator"}
            if decided
            else {}
        ),
    }


def envelope(dialect, name, facts):
    """Return an event in one of the published forms, with exactly the fields of that
    form.
    """

    def take(*keys):
        return {key: facts[key] for key in keys if key in facts}

    as_text = {"to": ", ".join(facts["to"])}
    if dialect == "A":
        inner = {
            **take("email_id", "from", "to", "subject", "direction", "decision"),
            "has_attachments": False,
        }
        return {"event": name, "timestamp": facts["timestamp"], "data": inner}
    if dialect == "B":
        return {
            "type": name,
            "data": {
                **take("message_id", "from", "subject", "metadata", "decision"),
                **as_text,
            },
        }
    if dialect == "C":
        keys = (
            "id" if "decision" not in facts else "message_id",
            "from",
            "subject",
            "decision",
        )
        return {"type": name, **take(*keys), **as_text}
    if dialect == "D":
        keys = (
            "timestamp",
            "message_id",
            "thread_id",
            "mailbox",
            "from",
            "subject",
            "decision",
        )
        return {"event_type": name, **take(*keys)}
    return {"event": name, "type": name, "event_type": name, **facts, "data": facts}


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
    row = pending_row(
        history.upstream_id,
        to_addresses=["dana@northwind.example", "kim@northwind.example"],
    )
    show_row(message, **row)
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


def mirror_of(connection, histories):
    """Return everything that must be equal in the end."""
    found = {}
    for history in histories:
        message = Message.objects.get(
            connection=connection, upstream_id=history.upstream_id
        )
        found[history.upstream_id] = {
            "state": message.state,
            "subject": message.subject,
            "sender": message.sender,
            "recipients": message.recipients,
            "trigger": message.trigger,
            "direction": message.direction,
            "thread": message.thread_id,
            "mailbox": message.mailbox and message.mailbox.upstream_id,
            "decided by": message.upstream_decided_by,
            "held at": message.held_at if history.has_all_times else None,
            "status": message.upstream_status if history.last_status else None,
            "decisions": list(message.decisions.values_list("outcome", "state")),
        }
    return found


def held_announcements(connection):
    return Entry.objects.filter(connection=connection.pk, action="message.held").count()


def check(histories, draw):
    ordered = make_connection("ordered")
    shuffled = make_connection("shuffled")
    for connection in (ordered, shuffled):
        for history in histories:
            if history.ours:
                begin_ours(connection, history)
    bodies = [body for history in histories for body in history.bodies]
    for body in bodies:
        receive(ordered, body)
    confirm_reports()
    repeated = bodies + draw(
        st.lists(st.sampled_from(bodies), max_size=4), label="repeated"
    )
    order = draw(st.permutations(repeated), label="order")
    for body in order:
        receive(shuffled, body)
    confirm_reports()
    assert mirror_of(shuffled, histories) == mirror_of(ordered, histories)
    assert WebhookEvent.objects.filter(connection=shuffled).count() == len(bodies)
    # Held mail is announced only if that was the first event. An event without a time
    # counts as now.
    assert held_announcements(shuffled) == sum(
        history.kinds[0] == "pending"
        and not (history.is_old and history.begins_with_time)
        and (
            bool(history.ours)
            or order.index(history.bodies[0]) == min(map(order.index, history.bodies))
        )
        for history in histories
    )


@given(histories(), st.data())
def test_webhooks_in_any_order_end_in_the_same_mirror(histories, data):
    with rolled_back():
        check(histories, data.draw)


@pytest.mark.django_db(transaction=True)
def test_webhooks_that_come_twice_at_once_end_in_the_same_mirror():
    kinds = ("pending", "approved", "sent", "delivered")
    histories = [
        History(f"01E{number}", kinds, is_inbound=False, ours="") for number in range(2)
    ]
    for history in histories:
        for index, kind in enumerate(kinds):
            at = (
                datetime.now(UTC) - timedelta(minutes=5) + timedelta(seconds=index)
            ).isoformat()
            facts = facts_of(history, kind, index, at=at, reason="")
            history.bodies.append(
                json.dumps(envelope("hybrid", SPELLINGS[kind][0], facts)).encode()
            )
    ordered = make_connection("ordered")
    hurried = make_connection("hurried")
    bodies = [body for history in histories for body in history.bodies]
    for body in bodies:
        receive(ordered, body)
    orders = [random.Random(seed).sample(bodies, len(bodies)) for seed in range(4)]
    delivered = at_once(*(partial(deliver, hurried, order) for order in orders))
    results = [result for found in delivered for result in found]
    confirm_reports()
    assert mirror_of(hurried, histories) == mirror_of(ordered, histories)
    assert results.count("duplicate") == 24
    assert held_announcements(hurried) <= 2


def deliver(connection, bodies):
    return [receive(connection, body) for body in bodies]
