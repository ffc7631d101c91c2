"""The Inngest function of the documentation, as it stands, with Inngest's own SDK,
against the gateway.
"""

import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from tests.conformance import inngest_standin, recipes
from upstream.signatures import sign


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


@pytest.mark.slow
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


# The functions of MultiMail's Inngest page, with the real package, on the events that the
# desk posts (point 5).
PACKAGE = "inngest@3.54.2"


@pytest.fixture(scope="module")
def folder(request):
    """The program's folder with the package installed."""
    recipes.needs_node()
    folder = Path(request.config.cache.mkdir("inngest-js"))
    options = ["--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]
    recipes.install(folder, PACKAGE, ["npm", "install", PACKAGE, *options])
    shutil.copy(Path(__file__).parent / "inngest_pages.mjs", folder)
    return folder


@pytest.fixture(scope="module")
def pages(product, folder, tmp_path_factory):
    """The program, and the stand-in for Inngest that calls it."""
    port = str(product.stack.hook_port)
    with inngest_standin.inngest() as inngest:
        variables = {
            "KEY": product.known["AGENT_KEY"],
            "PORT": port,
            "INNGEST_DEV": inngest.url,
        }
        env = recipes.environment(product, "MAILBOX_ADDRESS", **variables)
        url = f"http://127.0.0.1:{port}/api/inngest"
        log = tmp_path_factory.mktemp("pages") / "app.log"
        with recipes.running(
            ["node", str(folder / "inngest_pages.mjs")], env=env, log=log
        ):
            product.wait_for(
                lambda: requests.get(url, timeout=60).ok, 60, "the program to answer"
            )
            inngest.sync(url)
            product.post_alerts()
            yield lambda name, event: inngest_standin.Run(url, f"pages-{name}", event)
            product.hold_alerts()


def event_of(product, name, message_id):
    """Wait for an event that the desk posted to Inngest, which stores it unchanged."""

    def posted():
        events = requests.get(
            f"{product.known['DISCORD_URL']}/programs.json", timeout=60
        ).json()["events"]
        mine = (
            one["body"]
            for one in events
            if (one["program"], one["name"]) == ("inngest", name)
        )
        return next(
            (one for one in mine if one["data"].get("message_id") == message_id), None
        )

    return product.wait_for(posted, timeout=90, what=f"{name} of {message_id}")


@pytest.mark.slow
def test_triage_reads_and_tags_the_message_of_the_event(product, pages):
    received = recipes.receive(product, f"Refund {time.time_ns()}")
    ended = pages(
        "triage", event_of(product, "multimail/email.received", received["id"])
    ).next()
    assert ended["output"] == {"id": received["id"], "tag": "refund"}
    path = f"/v1/mailboxes/{product.known['MAILBOX_ID']}/emails/{received['id']}/tags"
    assert product.call("GET", path).json()["tags"].keys() == {"refund"}


@pytest.mark.slow
def test_function_waits_for_the_decision_that_the_desk_posts(product, pages):
    message = {
        "to": "dana@northwind.example",
        "subject": f"Pages {time.time_ns()}",
        "text": "Hello Dana",
    }
    run = pages("send", {"name": "app/letter.written", "data": message})
    waiting = run.next()
    [sent] = [step["data"]["id"] for step in run.steps.values()]
    assert waiting["op"] == "WaitForEvent"
    assert waiting["name"] == "multimail/email.decided"
    assert waiting["opts"]["if"] == f'async.data.message_id == "{sent}"'
    recipes.decide(product, sent, "approve", "As agreed.")
    event = event_of(product, "multimail/email.decided", sent)
    assert run.woken(waiting, event)["output"] == {"id": sent, "decision": "approved"}
