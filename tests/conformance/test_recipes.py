"""The smaller programs of the documentation, unchanged: waiting, the digest,
signatures.
"""

import contextlib
import json
import time

import pytest
import requests

from tests.conformance import recipes
from tests.faults.proxy import Proxy
from tests.standin import multimail as standin_for_http
from upstream.signatures import HEADER, sign


@pytest.mark.slow
def test_waiting_program_ends_with_the_decision(product, tmp_path):
    email_id, _ = product.send()
    out = tmp_path / "out"
    with contextlib.closing(Proxy()) as gateway:
        gateway.serve(product.known["GATEWAY_URL"])
        env = recipes.environment(product, "AGENT_KEY") | {"GATEWAY_URL": gateway.url}
        command = recipes.recipe("wait_for_decision.py", email_id)
        with recipes.running(command, env=env, log=out) as program:
            looked = lambda: any(one.status for one in gateway.seen)  # noqa: E731
            product.wait_for(looked, 60, "the first look, at a held one")
            recipes.decide(product, email_id, "reject", "It is 49, not 94.")
            assert program.wait(60) == 1
    assert "rejected It is 49, not 94." in out.read_text()


@pytest.fixture(scope="module")
def receiver(product, tmp_path_factory):
    """The recipe that checks signatures, subscribed to decisions and tests; it prints
    to a file.
    """
    port = str(product.stack.hook_port)
    out = tmp_path_factory.mktemp("receiver") / "out"
    with recipes.webhook(product, "oversight.pending", "email.decided") as hook:
        env = recipes.environment(
            product, SIGNING_SECRET=f"whsec_older {hook['signing_secret']}", PORT=port
        )
        with recipes.running(recipes.recipe("check_signature.py"), env=env, log=out):
            url = f"http://127.0.0.1:{port}/"
            product.wait_for(
                lambda: requests.get(url, timeout=60).status_code == 501,
                60,
                "the receiver to listen",
            )
            yield url, hook, out


def test_receiver_takes_what_the_gateway_signed(product, receiver):
    _, _, out = receiver
    email_id, _ = product.send(subject=f"Grüße {time.time_ns()}")
    recipes.decide(product, email_id, "reject", "Später.")
    line = f"email.decided {email_id} rejected Später."
    product.wait_for(lambda: line in out.read_text(), 60, "the decision")
    assert f"oversight.pending {email_id}" in out.read_text()


@pytest.mark.slow
def test_outcome_comes_back_to_the_channel_where_the_message_began(product, tmp_path):
    """Step 4 of MultiMail's page on Discord bots, which sends the channel's id."""
    recipes.needs_node()
    port = str(product.stack.hook_port)
    names = ("email.decided", "message.delivered")
    with (
        standin_for_http() as discord,
        recipes.webhook(product, *names) as hook,
    ):
        discord.answers["/api/v10/channels/3001/messages"] = (200, {})
        env = recipes.environment(
            product,
            DISCORD_TOKEN="t",
            DISCORD_API_URL=f"{discord.url}/api/v10",
            SIGNING_SECRET=hook["signing_secret"],
            PORT=port,
        )
        command = ["node", str(recipes.RECIPES / "discord_outcome.mjs")]
        with recipes.running(command, env=env, log=tmp_path / "out"):
            url = f"http://127.0.0.1:{port}/"
            # It believes nothing that is not signed.
            listens = lambda: requests.post(url, timeout=60).status_code == 401  # noqa: E731
            product.wait_for(listens, 60, "the program to listen")
            subject = f"Outcome {time.time_ns()}"
            for channel in ("outreach", "3001"):
                where = {"discord_channel": channel}
                email_id, _ = product.send(subject=subject, metadata=where)
                recipes.decide(product, email_id, "reject", "Ask @everyone first.")
                subject += ", by id"
            product.wait_for(lambda: discord.calls, 60, "the post")
    ((method, path, posted),) = discord.calls
    assert (method, path) == ("POST", "/api/v10/channels/3001/messages")
    assert discord.keys == ["Bot t"]
    first, reason = posted["content"].splitlines()
    assert first.startswith(f"“{subject.removesuffix(', by id')}” to ")
    assert ": rejected by " in first
    assert reason == "> Ask @everyone first."
    assert posted["allowed_mentions"] == {"parse": []}


def test_receiver_refuses_what_is_not_signed_and_repeats_nothing(receiver):
    url, hook, out = receiver
    secret = hook["secret"]

    def post(event, **headers):
        body = json.dumps({"event": event, "event_id": event, "message_id": "M"})
        signed = {
            name.replace("_", "-"): sign(body.encode(), secret)
            for name, secret in headers.items()
        }
        return requests.post(url, data=body, headers=signed, timeout=60).status_code

    signature = HEADER.replace("-", "_")
    assert post("once") == post("once", **{signature: "wrong"}) == 401
    for one in (secret, secret, "whsec_older"):
        assert post("once", **{signature: one}) == 200
    assert post("once", **{signature: "other", f"{signature}_Next": secret}) == 200
    assert post("last", **{signature: secret}) == 200
    assert out.read_text().count("once M") == 1
