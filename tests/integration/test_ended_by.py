"""How a review ended is said in each answer, event, card and page; a message that
expired was decided by nobody.
"""

import json

import pytest

from alerts.cards.message import read_message
from alerts.deliveries.event_bodies import event_body
from alerts.models import Destination
from approvals.decisions.by_rule import expire_due
from approvals.decisions.execute import run_decision
from approvals.models import Decision
from audit.models import Entry
from gateway.models import WebhookDelivery
from mirror.models import Message
from tests.cards import embed_of
from tests.factories import event_body as reported
from tests.factories import make_connection, make_message, post_confirmed
from tests.integration.deciding import expires, read_all
from tests.integration.gateway.world import event_of
from tests.integration.hosted_desk import text_of

NOBODY = {"decided_by": None, "ended_by": "expiry"}
EXPIRED = "Expired, nobody decided"


def named(answer):
    return {name: answer[name] for name in NOBODY}


def told(message, destination):
    """What programs are told of a rejection."""
    entry = Entry.objects.with_details().get(action="message.rejected")
    body = event_body(entry, read_message(message.pk), destination)
    return named(json.loads(body)["data"])


@pytest.fixture
def destination(db):
    return Destination.objects.create(
        kind="signed_webhook", name="Archive", url="https://a.example", privacy="full"
    )


def test_message_that_expired_is_decided_by_nobody_wherever_it_is_told(
    account, client, signed_in, reviewer, destination
):
    account.world.listen("oversight.rejected")
    account.send()
    read_all(account.connection)
    expires(minutes=-1)
    expire_due()
    assert run_decision(decision_id=Decision.objects.get().pk) == "applied"
    message = Message.objects.get()
    email_id = message.upstream_id
    path = f"{account.world.base}/emails/{email_id}"
    read = account.ask("GET", path, key="agent").json()
    assert (read["status"], read["decision"]) == ("rejected", "rejected")
    assert named(read) == NOBODY
    assert named(event_of("oversight.rejected")["data"]) == NOBODY
    states = account.ask("GET", f"/mcp/states?ids={email_id}", key="agent").json()
    state = states["states"][email_id]
    assert (state["state"], named(state)) == ("expired", NOBODY)
    body = {"email_id": email_id, "action": "approve"}
    again = account.ask("POST", "/v1/oversight/decide", key="desk", json=body)
    assert (again.status_code, named(again.json())) == (409, NOBODY)
    assert "nobody decided" in again.json()["error"]
    # At the desk.
    body = bytes(WebhookDelivery.objects.get().body)
    post_confirmed(client, account.connection, body)
    assert told(message, destination) == NOBODY
    assert EXPIRED in embed_of(read_message(message.pk), destination)["description"]
    client = signed_in(reviewer)
    pages = ("queue/{}/", "history/", "audit/trace/{}/")
    for address in pages:
        page = text_of(client.get("/" + address.format(message.public_id)))
        assert "xpired, nobody decided" in page, address
        assert "ejected by" not in page, address
    rows = client.get("/queue/?tab=done&format=json").json()["messages"]
    assert [row["ended_by"] for row in rows] == ["expiry"]


def test_end_that_another_desk_reports_is_shown_and_an_unknown_code_is_nothing(
    client, signed_in, reviewer, destination
):
    connection = make_connection()
    for code, name, told_as, is_expired in (
        ("expiry", None, NOBODY, True),
        ("rule", "A rule", {"decided_by": "A rule", "ended_by": "rule"}, False),
        ("??", "Kim", {"decided_by": "Kim", "ended_by": "elsewhere"}, False),
        (["expiry"], "Kim", {"decided_by": "Kim", "ended_by": "elsewhere"}, False),
    ):
        message = make_message(connection)
        body = reported(
            "oversight.rejected",
            email_id=message.upstream_id,
            status="rejected",
            decision="rejected",
            decided_by=name,
            ended_by=code,
        )
        post_confirmed(client, connection, body)
        entry = Entry.objects.with_details().filter(action="message.rejected").last()
        data = json.loads(event_body(entry, read_message(message.pk), destination))
        assert named(data["data"]) == told_as
        page = text_of(signed_in(reviewer).get(f"/queue/{message.public_id}/"))
        assert (EXPIRED in page) == is_expired
