"""A connection that is down, slow, throttled or refused does not affect the others
(I10).
"""

import uuid

import pytest

from tests.faults import wire
from tests.faults.proxy import DECIDE, READ

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]

# The worker that executes decisions.
THREADS = 8
# Another MultiMail account, connected without a proxy.
CONNECT = """
import io, re
from django.core.management import call_command
from mirror.models import Connection
out = io.StringIO()
call_command("gateway_account", name="Neighbour", stdout=out)
made = dict(re.findall(r"^([a-z ]+?)  +(\\S+)", out.getvalue(), re.M))
connection = Connection.objects.create(
    slug="neighbour", name="Neighbour", api_url={url!r}, webhook_secret="whsec_neighbour_secret",
    oversight_key=made["oversight"], is_our_gateway=True)
result = {{**made, "webhook_id": connection.webhook_id}}
"""


@pytest.fixture(scope="module")
def neighbour(desk_of_its_own):
    """The keys of the other account, whose webhooks reach the desk."""
    made = desk_of_its_own.python(
        CONNECT.format(url=desk_of_its_own.known["GATEWAY_URL"])
    )
    desk_of_its_own.known |= {
        "NEIGHBOUR_KEY": made["agent"],
        "NEIGHBOUR_ADMIN_KEY": made["admin"],
    }
    body = {
        "url": f"{desk_of_its_own.hooks.url}/webhooks/multimail/{made['webhook_id']}/",
        "events": [
            "oversight.pending",
            "oversight.approved",
            "oversight.rejected",
            "message.sent",
        ],
        "secret": "whsec_neighbour_secret",
    }
    answer = desk_of_its_own.product.call(
        "POST", "/v1/webhooks", key="NEIGHBOUR_ADMIN_KEY", json=body
    )
    assert answer.status_code == 201, answer.text
    return made


def neighbour_decides(desk):
    """Send a message of the other account, approve it, and wait for its effect."""
    subject = f"Neighbour {uuid.uuid4().hex[:10]}"
    body = {
        "from": "agent@neighbour.example",
        "to": "dana@northwind.example",
        "subject": subject,
        "body": "Hello",
    }
    answer = desk.product.call("POST", "/v1/send_email", key="NEIGHBOUR_KEY", json=body)
    assert answer.status_code == 202, answer.text
    held = desk.shown(answer.json()["message_id"], subject)
    desk.sql(
        "UPDATE mirror_mailbox SET undo_window = '0' WHERE address = 'agent@neighbour.example'"
    )
    assert desk.decide(held) == 302
    desk.wait_for_decision(held, "applied")


def mend(desk):
    desk.sql("UPDATE mirror_connection SET wait_until = NULL WHERE slug = 'demo'")
    desk.reconcile()
    desk.wait(
        lambda: (
            not desk.connection()["paused_at"]
            and not desk.connection()["failing_since"]
        ),
        "it to be well",
    )


def test_slow_connection_does_not_hold_up_its_neighbour(desk, neighbour):
    slow = [desk.hold() for _ in range(THREADS + 1)]
    stop = wire.Gate()
    try:
        with desk.upstream.fault(stop, kind=READ):
            for held in slow:
                assert desk.decide(held, "reject") == 302
            stop.wait()
            # While all of those hang.
            neighbour_decides(desk)
    finally:
        stop.open()
    for held in slow:
        desk.let_fall_due(held)
    for held in slow:
        desk.sweep_to(held, "applied")


@pytest.mark.parametrize("trouble", ["refused", "revoked", "throttled"])
def test_broken_connection_does_not_hold_up_its_neighbour(desk, neighbour, trouble):
    held = desk.hold()
    fault = {
        "refused": desk.upstream.refusing(),
        "revoked": desk.upstream.fault(wire.answering(401), kind=""),
        "throttled": desk.upstream.fault(
            wire.answering(429, Retry_After="3600"), kind=""
        ),
    }[trouble]
    try:
        with fault:
            assert desk.decide(held) == 302
            # Reading its thread may be throttled first, and then the decision is not
            # even tried.
            desk.wait(
                lambda: (
                    desk.decision(held)["explanation"]
                    or desk.connection()["wait_until"]
                ),
                "the trouble",
            )
            neighbour_decides(desk)
    finally:
        mend(desk)
    desk.let_fall_due(held)
    desk.sweep_to(held, "applied")
    assert len(desk.upstream.reached(DECIDE, held.upstream_id)) == 1
