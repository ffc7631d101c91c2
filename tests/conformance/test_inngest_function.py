"""The Inngest function of the documentation, as it stands, with Inngest's own SDK,
against the gateway.
"""

import json
import time
from types import SimpleNamespace

import pytest
import requests

from tests.conformance import inngest_standin, recipes
from upstream.signatures import sign

pytestmark = pytest.mark.slow


def begin(app):
    """Start a run with a letter of its own, as far as it goes."""
    data = {
        "to": "dana@northwind.example",
        "subject": f"Inngest {time.time_ns()}",
        "text": "Hello Dana",
    }
    run = inngest_standin.Run(
        f"{app.url}/api/inngest",
        app.inngest.functions[0]["id"],
        {"name": "app/letter.written", "data": data},
    )
    return run, run.next()


@pytest.fixture(scope="module")
def app(product, tmp_path_factory):
    """The running recipe, and its stand-in for Inngest."""
    log = tmp_path_factory.mktemp("inngest") / "app.log"
    port = str(product.stack.hook_port)
    url = f"http://127.0.0.1:{port}"
    with (
        inngest_standin.inngest() as inngest,
        recipes.webhook(product, "email.decided") as hook,
    ):
        env = recipes.environment(
            product,
            "AGENT_KEY",
            "MAILBOX_ADDRESS",
            SIGNING_SECRET=hook["signing_secret"],
            INNGEST_DEV=inngest.url,
            PORT=port,
        )
        with recipes.running(recipes.recipe("inngest_function.py"), env=env, log=log):
            product.wait_for(
                lambda: requests.get(f"{url}/api/inngest", timeout=60).ok,
                60,
                "the app to answer",
            )
            inngest.sync(f"{url}/api/inngest")
            secret = hook["signing_secret"]
            yield SimpleNamespace(inngest=inngest, url=url, secret=secret)


def message_of(run):
    """The id of the message that a run has sent."""
    return next(
        step["data"]["id"]
        for step in run.steps.values()
        if "oversight_status" in (step["data"] or {})
    )


def test_function_is_woken_by_the_decision_about_its_own_message(product, app):
    run, waiting = begin(app)
    message_id = message_of(run)
    assert waiting["op"] == "WaitForEvent"
    assert waiting["name"] == "multimail/email.decided"
    assert waiting["opts"]["if"] == f"async.data.message_id == '{message_id}'"
    recipes.decide(product, message_id, "reject", "As agreed.")

    def arrived():
        events = app.inngest.named("multimail/email.decided")
        mine = (one for one in events if one["data"].get("message_id") == message_id)
        return next(mine, None)

    event = product.wait_for(arrived, timeout=60, what="the decision as an event")
    assert event["id"] == event["data"]["event_id"]
    ended = run.woken(waiting, event)
    assert ended["output"]["message_id"] == message_id
    assert ended["output"]["decision"] == "rejected"
    assert ended["output"]["reason"].startswith("As agreed.")


def test_step_that_runs_twice_sends_once(app):
    run, _ = begin(app)
    first = message_of(run)
    run.steps.clear()
    run.next()
    assert message_of(run) == first


def test_only_a_signed_webhook_becomes_an_event_and_is_passed_on_whole(app):
    def post(event_id, signature=""):
        event = {"type": "email.decided", "event_id": event_id, "subject": "Grüße"}
        body = json.dumps(event, ensure_ascii=False).encode()
        headers = {"X-MultiMail-Signature": signature or sign(body, app.secret)}
        url = f"{app.url}/hooks/multimail"
        return requests.post(url, data=body, headers=headers, timeout=60).status_code

    assert post("FORGED", "sha256=00") == post("FORGED", b"sha256=\xe9") == 401
    assert post("01EVENT") == 200
    # Events of other tests may still arrive.
    found = {event.get("id"): event for event in app.inngest.events}
    assert "FORGED" not in found
    assert found["01EVENT"]["data"]["subject"] == "Grüße"
