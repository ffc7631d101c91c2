"""The functions of MultiMail's Inngest page, with the real package, on the events that
the desk posts (point 5).
"""

import shutil
import time
from pathlib import Path

import pytest
import requests

from tests.conformance import inngest_standin, recipes

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
