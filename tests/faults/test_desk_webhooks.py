"""Webhooks that come many times at once, or are cut off by a death: accepted ones are
stored once.
"""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.faults import wire
from tests.faults.proxy import WEBHOOK, pass_on

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]


def hurry(desk, upstream_id):
    """Make the gateway's next delivery try for a message due."""
    desk.sql(
        "UPDATE gateway_webhookdelivery SET next_attempt_at = now() WHERE state = 'due' AND email_id = %s",
        upstream_id,
    )
    desk.celery.send_task("gateway.tasks.sweep", queue="gateway")


def test_death_between_commit_and_answer_makes_the_retry_a_duplicate(desk):
    subject = f"Death {uuid.uuid4().hex[:10]}"
    lost = []

    def lose_ours(exchange):
        if subject.encode() not in exchange.request.body or lost:
            return pass_on(exchange)
        lost.append(exchange.seen)
        return wire.lose_answer(exchange)

    with desk.hooks.fault(lose_ours, WEBHOOK):
        upstream_id, _ = desk.send(subject=subject)
        desk.wait(lambda: lost and lost[0].status == 200, "the desk to have stored it")
    desk.restart("web")
    desk.wait(
        lambda: desk.ana.get("/healthz").status_code == 200, "the web process to answer"
    )
    hurry(desk, upstream_id)
    held = desk.shown(upstream_id, subject)
    tries = desk.wait(lambda: answered(desk, upstream_id), "the gateway's second try")
    assert (
        json.loads(tries[0].request.body)["event_id"]
        == json.loads(tries[-1].request.body)["event_id"]
    )
    assert tries[-1].answer == {"result": "duplicate"}
    assert len(desk.entries(held, "message.held")) == 1


def answered(desk, upstream_id):
    """Return the webhooks about a message once the second of them was answered."""
    tries = desk.hooks.reached(WEBHOOK, upstream_id)
    return tries if len(tries) > 1 and tries[-1].answer else None


def events(desk, upstream_id):
    """The webhooks that MultiMail has sent about a message, oldest first, each once."""
    requests_ = [seen.request for seen in desk.hooks.requests(WEBHOOK, upstream_id)]
    return list({request.body: request for request in requests_}.values())


def deliver(desk, request):
    """Post a webhook to the desk as MultiMail did, with its signature."""
    url = desk.known["DASHBOARD_URL"] + request.path
    headers = {
        name: text
        for name, text in request.headers.items()
        if name not in ("host", "connection")
    }
    answer = requests.post(url, data=request.body, headers=headers, timeout=30)
    desk.note(
        "MultiMail", "webhook", body=request.body.decode(), status=answer.status_code
    )
    return answer


def rows(desk, digest_of):
    """The desk's rows of webhooks about a message."""
    return desk.sql(
        "SELECT * FROM mirror_webhookevent WHERE email_id = %s ORDER BY id", digest_of
    )


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
