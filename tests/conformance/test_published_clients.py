"""MultiMail's package for LangChain, unchanged from PyPI, in an environment of its own.

Those for LlamaIndex and CrewAI offer the same nine tools. Its `get_thread` would show
how each message begins, from `text_body`; threads carry no bodies at MultiMail either,
so it shows none.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conformance import recipes

pytestmark = pytest.mark.slow
# With the version of the framework that it was tried with.
PACKAGES = ("langchain-multimail==0.1.1", "langchain-core==1.8.3")


@pytest.fixture
def tools(request, product, tmp_path):
    """A function that uses a tool of the running package: it returns its text, or the
    error that it raised.
    """
    folder = Path(request.config.cache.mkdir("published-langchain"))
    python = str(folder / "venv" / "bin" / "python")
    make = [sys.executable, "-m", "venv", "--clear", "venv"]
    fetch = [python, "-m", "pip", "install", "--quiet", *PACKAGES]
    recipes.install(folder, " ".join(PACKAGES), make, fetch)
    runner = str(Path(__file__).parent / "published_client_runner.py")
    command = [python, runner, product.known["GATEWAY_URL"]]
    env = recipes.environment(product)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": None}
    log = tmp_path / "unused.log"
    with recipes.running(command, env=env, log=log, **pipes) as process:

        def use(tool, *, key="AGENT_KEY", **arguments):
            asked = {"key": product.known[key], "tool": tool, "arguments": arguments}
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            use.used.add(tool)
            use.offered = answer["tools"]
            return answer["text"]

        use.used = set()
        yield use


def test_every_tool_says_what_happened(product, tools):
    mailbox = product.known["MAILBOX_ID"]
    base = f"/v1/mailboxes/{mailbox}/emails"
    subject = f"Asked {time.time_ns()}"

    def newest():
        query = {"direction": "outbound", "limit": "1"}
        return product.call("GET", base, params=query).json()["emails"][0]

    received = recipes.receive(product, subject)
    ids = {"mailbox_id": mailbox, "email_id": received["id"]}
    listed = tools("check_inbox", mailbox_id=mailbox, direction="inbound", limit=1)
    assert f"{subject} — from dana@northwind.example (unread)" in listed
    read = tools("read_email", **ids).splitlines()
    assert {f"Subject: {subject}", "It was due on Monday."} <= {*read}
    contact = {"name": subject, "email": "dana@northwind.example"}
    product.call("POST", "/v1/contacts", json=contact)
    assert tools("search_contacts", q=subject) == f"- {subject} <{contact['email']}>"

    replied = tools("reply_email", **ids, markdown="It comes **today**.")
    assert f"id: {newest()['id']}, status: pending_scan" in replied
    thread = tools("get_thread", mailbox_id=mailbox, thread_id=received["thread_id"])
    assert f"[inbound] dana@northwind.example: {subject}" in thread
    tools("tag_email", **ids, tags={"order": "4471"})
    tags = product.call("GET", f"{base}/{received['id']}/tags").json()["tags"]
    assert tags == {"order": "4471"}

    new = {"mailbox_id": mailbox, "to": [contact["email"]], "subject": f"New {subject}"}
    sent = tools("send_email", **new, markdown="Hello **Dana**")
    email_id = newest()["id"]
    assert f"id: {email_id}, status: pending_scan" in sent
    pending = tools("list_pending", key="OVERSIGHT_KEY")
    assert f"New {subject} → dana@northwind.example\n  ID: {email_id}" in pending
    decision = {"email_id": email_id, "action": "approve", "reason": "Looks right"}
    assert "scope" in tools("decide_email", **decision)
    decided = tools("decide_email", key="OVERSIGHT_KEY", **decision)
    assert decided.endswith("new status: approved_and_sent")
    assert tools.used == set(tools.offered)
