"""The smaller programs of the documentation, unchanged: waiting, the digest,
signatures, a model's tools.
"""

import json
import subprocess
import time

import pytest
import requests

from tests.conformance import between, recipes
from tests.standin import multimail as standin_for_http
from upstream.signatures import HEADER, sign


@pytest.mark.parametrize(
    ("action", "status", "code"),
    [
        ("approve", "approved", 0),
        pytest.param("reject", "rejected", 1, marks=pytest.mark.slow),
    ],
    ids=["approve", "reject"],
)
def test_waiting_program_ends_with_the_decision(
    product, tmp_path, action, status, code
):
    email_id, _ = product.send()
    out = tmp_path / "out"
    with between.between(product.known["GATEWAY_URL"]) as gateway:
        env = recipes.environment(product, "AGENT_KEY") | {"GATEWAY_URL": gateway.url}
        with recipes.running(
            recipes.recipe("wait_for_decision.py", email_id), env=env, log=out
        ) as program:
            product.wait_for(
                lambda: gateway.calls,
                60,
                "the first look, at a message that is still held",
            )
            recipes.decide(product, email_id, action, "It is 49, not 94.")
            assert program.wait(60) == code
    assert f"{status} It is 49, not 94." in out.read_text()


@pytest.mark.slow
def test_waiting_program_is_patient_with_a_gateway_that_is_busy_or_silent(product):
    email_id, _ = product.send()
    recipes.decide(product, email_id, "reject")
    with between.between(product.known["GATEWAY_URL"]) as gateway:
        gateway.faults += [between.BUSY, between.LOST]
        ran = recipes.run(
            "wait_for_decision.py",
            email_id,
            env=recipes.environment(product, "AGENT_KEY")
            | {"GATEWAY_URL": gateway.url},
        )
    assert ran.stdout.startswith("rejected rejected")
    assert not gateway.faults


@pytest.fixture
def digest_env(product):
    return recipes.environment(product, "MAILBOX_ADDRESS", "READ_KEY", "OVERSIGHT_KEY")


@pytest.mark.slow
def test_digest_names_what_waits_for_review_and_what_is_unread_and_leaves_it_so(
    product, digest_env
):
    _, subject = product.send()
    received = recipes.receive(product, f"Digest {time.time_ns()}")
    ran = recipes.run("daily_digest.py", env=digest_env)
    assert ran.returncode == 0, ran.stderr
    assert "Unread: " in ran.stdout
    assert f"- {received['subject']} (dana@northwind.example)" in ran.stdout
    mailbox = {"mailbox": product.known["MAILBOX_ADDRESS"]}
    pending = product.call(
        "GET", "/v1/list_pending", key="OVERSIGHT_KEY", params=mailbox
    ).json()
    assert f"Waiting for review, oldest first: {pending['count']}\n" in ran.stdout
    if pending["count"] <= 10:
        assert f"- {subject} (dana@northwind.example)" in ran.stdout
    path = f"/v1/mailboxes/{product.known['MAILBOX_ID']}/emails"
    (row,) = product.call(
        "GET", path, params={"subject_contains": received["subject"]}
    ).json()["emails"]
    assert row["status"] == "unread"


@pytest.mark.slow
def test_digest_is_posted_to_discord_without_pinging_anybody(digest_env):
    with standin_for_http() as discord:
        discord.answers["/api/webhooks/1/x"] = (200, {})
        ran = recipes.run(
            "daily_digest.py",
            env=digest_env | {"DISCORD_WEBHOOK_URL": f"{discord.url}/api/webhooks/1/x"},
        )
    assert ran.returncode == 0, ran.stderr
    ((_, _, posted),) = discord.calls
    assert posted == {
        "content": ran.stdout.strip()[:2000],
        "allowed_mentions": {"parse": []},
    }


@pytest.fixture(scope="module")
def receiver(product, tmp_path_factory):
    """The recipe that checks signatures, subscribed to decisions and tests; it prints
    to a file.
    """
    port = str(product.stack.hook_port)
    out = tmp_path_factory.mktemp("receiver") / "out"
    with recipes.webhook(
        product, "oversight.pending", "email.decided", "message.received"
    ) as hook:
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
    product.wait_for(
        lambda: f"email.decided {email_id} rejected Später." in out.read_text(),
        60,
        "the decision",
    )
    assert f"oversight.pending {email_id}" in out.read_text()
    received = recipes.receive(product, f"Received {time.time_ns()}")
    product.wait_for(
        lambda: f"message.received {received['id']}" in out.read_text(),
        60,
        "the webhook",
    )


def test_receiver_refuses_what_is_not_signed_and_repeats_nothing(receiver):
    url, hook, out = receiver
    body = json.dumps(
        {"event": "once", "event_id": "01ONCE", "message_id": "M"}
    ).encode()
    assert requests.post(url, data=body, timeout=60).status_code == 401
    assert (
        requests.post(
            url, data=body, headers={HEADER: sign(body, "wrong")}, timeout=60
        ).status_code
        == 401
    )
    assert (
        requests.post(
            url, data=body, headers={HEADER: sign(b"other", hook["secret"])}, timeout=60
        ).status_code
        == 401
    )
    for secret in (hook["secret"], hook["secret"], "whsec_older"):
        assert (
            requests.post(
                url, data=body, headers={HEADER: sign(body, secret)}, timeout=60
            ).status_code
            == 200
        )
    next_only = {
        HEADER: sign(body, "whsec_other"),
        f"{HEADER}-Next": sign(body, hook["secret"]),
    }
    assert (
        requests.post(url, data=body, headers=next_only, timeout=60).status_code == 200
    )
    last = json.dumps(
        {"event": "last", "event_id": "01LAST", "message_id": "M"}
    ).encode()
    assert (
        requests.post(
            url, data=last, headers={HEADER: sign(last, hook["secret"])}, timeout=60
        ).status_code
        == 200
    )
    assert out.read_text().count("once M") == 1


class Model:
    """An MCP client of the recipes' MCP server."""

    def __init__(self, program):
        self._program = program
        self._id = 0

    def ask(self, method, **params):
        self._id += 1
        self.write(method, id=self._id, params=params)
        answer = json.loads(self._program.stdout.readline())
        assert answer["jsonrpc"] == "2.0"
        assert answer["id"] == self._id
        return answer.get("result", answer.get("error"))

    def write(self, method, **more):
        self._program.stdin.write(
            json.dumps({"jsonrpc": "2.0", "method": method, **more}) + "\n"
        )
        self._program.stdin.flush()

    def mumble(self):
        self._program.stdin.write("not JSON\n")

    def use(self, tool, **arguments):
        result = self.ask("tools/call", name=tool, arguments=arguments)
        return result["isError"], result["content"][0]["text"]


@pytest.fixture(scope="module")
def model(product, tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("model")
    env = recipes.environment(product, "AGENT_KEY", "MAILBOX_ADDRESS")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": None}
    with recipes.running(
        recipes.recipe("mcp_server.py"), env=env, log=tmp_path / "out", **pipes
    ) as program:
        model = Model(program)
        client = {"name": "test", "version": "1"}
        begun = model.ask(
            "initialize",
            protocolVersion="2025-06-18",
            capabilities={},
            clientInfo=client,
        )
        assert begun["protocolVersion"] == "2025-06-18"
        model.write("notifications/initialized")
        yield model
        program.stdin.close()


def test_model_learns_from_the_tool_that_held_is_no_error(model):
    tools = {tool["name"]: tool for tool in model.ask("tools/list")["tools"]}
    assert tools.keys() == {
        "send_email", "reply_email", "wait_for_decision", "withdraw_email", "read_email", "read_thread", "check_inbox",
    }  # fmt: skip
    assert "Never send the message again" in tools["send_email"]["description"]
    assert tools["send_email"]["inputSchema"]["required"] == [
        "to",
        "subject",
        "markdown",
    ]


def test_model_sends_once_however_often_it_calls(product, model):
    message = {
        "to": ["dana@northwind.example"],
        "subject": f"MCP {time.time_ns()}",
        "markdown": "Hello",
    }
    failed, text = model.use("send_email", **message)
    first = json.loads(text)
    assert failed is False
    assert first["oversight_status"] == "pending_approval"
    failed, text = model.use("send_email", **message)
    assert failed is False
    assert json.loads(text)["id"] == first["id"]
    recipes.decide(product, first["id"], "reject", "No.")
    failed, text = model.use("read_email", id=first["id"])
    assert failed is False
    assert json.loads(text)["status"] == "rejected"
    assert json.loads(text)["decision"] == "rejected"


def test_model_answers_in_a_thread_waits_and_takes_back(product, model):
    """Point 15: reply, wait, withdraw, thread."""
    received = recipes.receive(product, f"Thread {time.time_ns()}")
    failed, text = model.use(
        "reply_email", id=received["id"], markdown="It is on its way."
    )
    reply = json.loads(text)
    assert failed is False
    assert reply["thread_id"] == received["thread_id"]
    failed, text = model.use("read_thread", thread_id=reply["thread_id"])
    assert failed is False
    assert [one["id"] for one in json.loads(text)["emails"]] == [
        received["id"],
        reply["id"],
    ]
    recipes.decide(product, reply["id"], "approve", "Good.")
    failed, text = model.use("wait_for_decision", id=reply["id"])
    result = json.loads(text)
    assert failed is False
    assert result["decision"] == "approved"
    assert result["decision_reason"] == "Good."
    message = {
        "to": ["dana@northwind.example"],
        "subject": f"Back {time.time_ns()}",
        "markdown": "Hello",
    }
    waiting = json.loads(model.use("send_email", **message)[1])
    failed, text = model.use("withdraw_email", id=waiting["id"])
    assert failed is False
    assert (
        json.loads(model.use("wait_for_decision", id=waiting["id"])[1])["status"]
        == "cancelled"
    )
    assert model.use("withdraw_email", id=reply["id"])[0], "it has left"


@pytest.mark.slow
def test_model_reads_what_was_received(product, model):
    received = recipes.receive(product, f"Model {time.time_ns()}")
    failed, text = model.use("check_inbox")
    assert not failed
    assert received["id"] in [row["id"] for row in json.loads(text)["emails"]]
    failed, text = model.use("read_email", id=received["id"])
    assert failed is False
    assert json.loads(text)["markdown"].strip() == "It was due on Monday."


def test_model_gets_an_explanation_of_what_is_wrong(model):
    failed, text = model.use("send_email", to=["nobody"], subject="x", markdown="x")
    assert failed
    assert text.startswith("to")
    assert model.use("read_email") == (True, "The argument 'id' is missing.")
    assert model.use("no_such_tool")[0] is True
    assert model.ask("resources/list")["code"] == -32601
    model.mumble()
    assert model.ask("ping") == {}
