"""The Inngest function of the documentation, as it stands, with Inngest's own SDK,
against the gateway.
"""

import hashlib
import hmac
import json
import time

import pytest
import requests

from tests.conformance import inngest_standin, recipes


class App:
    """The running recipe, and its stand-in for Inngest."""

    def __init__(self, inngest, url, secret):
        self.inngest = inngest
        self.url = url
        self.secret = secret

    def begin(self, product):
        """Start a run with a letter of its own, as far as it goes."""
        data = {
            "to": "dana@northwind.example",
            "subject": f"Inngest {time.time_ns()}",
            "text": "Hello Dana",
        }
        run = inngest_standin.Run(
            f"{self.url}/api/inngest",
            self.inngest.functions[0]["id"],
            {"name": "app/letter.written", "data": data},
        )
        return run, run.next()


@pytest.fixture(scope="module")
def app(product, tmp_path_factory):
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
            yield App(inngest, url, hook["signing_secret"])


def message_of(run):
    """The id of the message that a run has sent."""
    return next(
        step["data"]["id"]
        for step in run.steps.values()
        if "oversight_status" in (step["data"] or {})
    )


@pytest.mark.parametrize(
    ("action", "decision"),
    [
        ("approve", "approved"),
        pytest.param("reject", "rejected", marks=pytest.mark.slow),
    ],
)
def test_function_is_woken_by_the_decision_about_its_own_message(
    product, app, action, decision
):
    (function,) = app.inngest.functions
    assert function["id"] == "mail-send-and-wait"
    assert [trigger["event"] for trigger in function["triggers"]] == [
        "app/letter.written"
    ]
    run, waiting = app.begin(product)
    message_id = message_of(run)
    assert waiting["op"] == "WaitForEvent"
    assert waiting["name"] == "multimail/email.decided"
    assert waiting["opts"]["if"] == f"async.data.message_id == '{message_id}'"
    assert waiting["opts"]["timeout"] == "1h"
    recipes.decide(product, message_id, action, "As agreed.")

    def arrived():
        events = app.inngest.named("multimail/email.decided")
        return next(
            (
                event
                for event in events
                if event["data"].get("message_id") == message_id
            ),
            None,
        )

    event = product.wait_for(
        arrived, timeout=60, what="the decision as an Inngest event"
    )
    assert event["id"] == event["data"]["event_id"]
    ended = run.woken(waiting, event)
    assert ended["op"] == "Ended"
    assert ended["output"]["message_id"] == message_id
    assert ended["output"]["decision"] == decision
    assert ended["output"]["reason"].startswith("As agreed.")


@pytest.mark.slow
def test_decision_before_anybody_waited_is_found_by_looking(product, app):
    run, waiting = app.begin(product)
    recipes.decide(product, message_of(run), "reject")
    ended = run.woken(waiting, None)
    assert ended["output"]["decision"] == "rejected"
    assert run.names == ["send", "look-0", "wait-0", "look-1"]


@pytest.mark.slow
def test_step_that_runs_twice_sends_once(product, app):
    run, _ = app.begin(product)
    first = message_of(run)
    run.steps.clear()
    run.next()
    assert message_of(run) == first


@pytest.mark.slow
def test_run_ends_for_good_when_the_gateway_refuses(product, app):
    event = {
        "name": "app/letter.written",
        "data": {"to": "nobody", "subject": "x", "text": "x"},
    }
    answer = inngest_standin.Run(
        f"{app.url}/api/inngest", "mail-send-and-wait", event
    ).call()
    assert answer.headers["x-inngest-no-retry"] == "true"
    assert "to" in answer.text


def test_only_a_signed_webhook_becomes_an_event_and_is_passed_on_whole(app):
    for signature in (None, "sha256=00", "sha256=\u00e9"):
        headers = (
            {"X-MultiMail-Signature": signature.encode("latin-1")} if signature else {}
        )
        forged = b'{"type": "email.decided", "event_id": "FORGED"}'
        assert (
            requests.post(
                f"{app.url}/hooks/multimail", data=forged, headers=headers, timeout=60
            ).status_code
            == 401
        )
    # Events of other tests may still arrive.
    assert "FORGED" not in {event.get("id") for event in app.inngest.events}
    body = json.dumps(
        {"type": "email.decided", "event_id": "01EVENT", "subject": "Grüße"},
        ensure_ascii=False,
    ).encode()
    signature = hmac.new(app.secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-MultiMail-Signature": f"sha256={signature}"}
    assert (
        requests.post(
            f"{app.url}/hooks/multimail", data=body, headers=headers, timeout=60
        ).status_code
        == 200
    )
    [event] = [event for event in app.inngest.events if event.get("id") == "01EVENT"]
    assert event["data"]["subject"] == "Grüße"
