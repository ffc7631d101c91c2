"""Webhooks come many times, in any order, a day late, or never: one row each, and the mirror never goes back."""

import datetime
import html
import itertools
import json
import random
import re
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.faults import wire
from tests.faults.proxy import LIST, WEBHOOK
from tests.faults.records import Held

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]

# Pending, approved and sent are numbers 0 to 2 in the order in which they happened.
# Held, approved and sent in every order, and delivered before or after all of them.
ORDERS = [(3, *order) if number % 2 else (*order, 3) for number, order in enumerate(itertools.permutations(range(3)))]


def events(desk, upstream_id):
    """The webhooks that MultiMail has sent about a message, oldest first, each once."""
    requests_ = [seen.request for seen in desk.hooks.requests(WEBHOOK, upstream_id)]
    return list({request.body: request for request in requests_}.values())


def deliver(desk, request):
    """Post a webhook to the desk as MultiMail did, with its signature."""
    url = desk.known["DASHBOARD_URL"] + request.path
    headers = {name: text for name, text in request.headers.items() if name not in ("host", "connection")}
    answer = requests.post(url, data=request.body, headers=headers, timeout=30)
    desk.note("MultiMail", "webhook", body=request.body.decode(), status=answer.status_code)
    return answer


def rows(desk, digest_of):
    """The desk's rows of webhooks about a message."""
    return desk.sql("SELECT * FROM mirror_webhookevent WHERE email_id = %s ORDER BY id", digest_of)


def mirrored(desk, held):
    """The desk's row of a message."""
    [message] = desk.sql("SELECT * FROM mirror_message WHERE upstream_id = %s", held.upstream_id)
    return message


def count_deliveries(desk, held):
    """Return the number of deliveries that were planned for a message."""
    query = (
        "SELECT count(*) AS n FROM alerts_delivery d JOIN alerts_card c ON c.id = d.card_id "
        "JOIN mirror_message m ON m.id = c.message_id WHERE m.public_id = %s"
    )
    return desk.sql(query, held.id)[0]["n"]


def test_same_webhook_a_hundred_times_is_one_row(desk):
    with desk.hooks.fault(wire.answering(200), WEBHOOK) as lost:
        upstream_id, subject = desk.send()
        desk.wait(lambda: events(desk, upstream_id), "the webhook")
    assert len(lost.met) >= 1
    [request] = events(desk, upstream_id)
    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda _: deliver(desk, request), range(100)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(rows(desk, upstream_id)) == 1
    held = desk.shown(upstream_id, subject)
    assert len(desk.entries(held, "message.held")) == 1


def test_webhooks_in_any_order_end_in_the_same_mirror(desk):
    with desk.hooks.fault(wire.answering(200), WEBHOOK):
        messages = {order: Held(*desk.send(), "", "") for order in ORDERS}
        for held in messages.values():
            desk.wait(lambda held=held: events(desk, held.upstream_id), "the first webhook")
            assert desk.decide_elsewhere(held, "approve").status_code == 200
        for held in messages.values():
            desk.wait(lambda held=held: len(events(desk, held.upstream_id)) == 4, "the webhooks of what followed")
    for order, held in messages.items():
        caught = events(desk, held.upstream_id)
        for number in order:
            assert deliver(desk, caught[number]).status_code == 200
        # What ends a message that the desk holds waits for a read.
        desk.wait(lambda held=held: mirrored(desk, held)["state"] == "delivered", f"the end of {order}")
        message = mirrored(desk, held)
        assert (message["subject"], message["recipients"]) == (held.subject, ["dana@northwind.example"]), order
        assert len(rows(desk, held.upstream_id)) == 4, order
        # It was already decided when the desk first saw it, so it cannot be approved.
        assert desk.ana.find(held.upstream_id) is None, order


def acts(desk, held):
    """The entries of a message, without alerts, which another worker delivers at its own pace."""
    return [entry["action"] for entry in desk.entries(held) if not entry["action"].startswith("alert.")]


def test_webhook_of_yesterday_and_replays_reopen_nothing(desk):
    held = desk.hold()
    assert desk.decide(held, "reject") == 302
    desk.wait_for_decision(held, "applied")
    desk.wait_for_message(held, "rejected")
    desk.wait(lambda: len(rows(desk, held.upstream_id)) == 2, "both webhooks")
    desk.wait_for_idle()
    cards_before, written = count_deliveries(desk, held), acts(desk, held)
    for request in events(desk, held.upstream_id):
        assert deliver(desk, request).status_code == 200
    assert (len(rows(desk, held.upstream_id)), acts(desk, held)) == (2, written)
    late = json.loads(events(desk, held.upstream_id)[0].body)
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    late |= {"event_id": f"evt_{uuid.uuid4().hex}", "timestamp": yesterday.isoformat()}
    assert desk.product.post_webhook(json.dumps(late).encode()).status_code == 200
    assert [row["result"] for row in rows(desk, held.upstream_id)][-1] == "late"
    assert desk.message(held)["state"] == "rejected"
    assert desk.ana.find(held.upstream_id) is None
    assert count_deliveries(desk, held) == cards_before


def test_spoiled_list_closes_nothing(desk):
    held = desk.hold()
    for fault in (wire.truncate, wire.answering(500)):
        with desk.upstream.fault(fault, LIST) as lists:
            desk.reconcile()
            lists.wait()
            desk.wait_for_idle()
        assert desk.message(held)["state"] == "held"
        assert desk.entries(held, "message.gone") == []
    desk.reconcile()
    desk.wait(lambda: not desk.connection()["failing_since"], "the connection to be well")


def test_fifty_concurrent_approvals_leave_nothing_for_a_person(desk):
    """MultiMail's webhooks about them come after reads have shown everything, in any order."""
    messages = [desk.shown(*sent) for sent in [desk.send() for _ in range(50)]]
    with desk.hooks.fault(wire.answering(200), WEBHOOK):
        sheet = desk.ana.post("/queue/bulk/", desk.ana.get("/queue/"), id=[held.id for held in messages])
        signed = html.unescape(re.search(r'name="sheet" value="([^"]+)"', sheet.text)[1])
        items = [f"{held.id}.{held.fingerprint}" for held in messages]
        asked = {"outcome": "approve_unread", "unread": "50"}
        answer = desk.ana.post("/queue/bulk/decide/", sheet, sheet=signed, item=items, **asked)
        assert answer.status_code == 302
        for held in messages:
            desk.wait_for_decision(held, "applied")
            desk.wait(lambda held=held: len(events(desk, held.upstream_id)) == 4, "its webhooks")
        desk.reconcile()
        for held in messages:
            desk.wait_for_message(held, "sent", "delivered")
    late = [request for held in messages for request in events(desk, held.upstream_id)]
    random.Random(18).shuffle(late)
    with ThreadPoolExecutor(8) as pool:
        assert {answer.status_code for answer in pool.map(lambda one: deliver(desk, one), late)} == {200}
    desk.wait_for_idle()
    query = "SELECT result, handled_at FROM mirror_webhookevent WHERE email_id = ANY(%s)"
    found = desk.sql(query, [held.upstream_id for held in messages])
    assert len(found) == 200
    assert [one for one in found if one["result"] == "late" and not one["handled_at"]] == []
    page = desk.person("ADMIN").get("/attention/").text
    assert [held.subject for held in messages if held.subject in page] == []
