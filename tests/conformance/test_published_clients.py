"""MultiMail's packages for LangChain, LlamaIndex and CrewAI, unchanged from PyPI, each
in an environment of its own.

They offer the same nine tools. Their `get_thread` would show how each message begins,
from `text_body`; threads carry no bodies at MultiMail either, so it shows none.
"""

import fcntl
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conformance import recipes

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
# CrewAI fetches a gigabyte.
INSTALL_SECONDS = 600
# With the version of the framework that it was tried with.
CLIENTS = {
    "langchain": ("langchain-multimail==0.1.1", "langchain-core==1.8.3"),
    "llamaindex": ("llamaindex-multimail==0.1.1", "llama-index-core==0.14.25"),
    "crewai": ("crewai-multimail==0.1.1", "crewai==1.15.30"),
}
NAMES = {
    "langchain": {},
    "crewai": {},
    "llamaindex": {
        "direction": "status",
        "markdown": "body",
        "q": "query",
        "action": "decision",
    },
}


class Tools:
    """The running package. A call names a tool and its arguments as LangChain's have
    them.
    """

    def __init__(self, name, process, known):
        self._name = name
        self._process = process
        self._known = known
        self.offered = []
        self.used = set()

    def ask(self, key, tool, **fields):
        """Use a tool; return its text, or the error that it raised."""
        arguments = {
            NAMES[self._name].get(name, name): value for name, value in fields.items()
        }
        if tool == "tag_email" and self._name == "llamaindex":
            arguments["tags"] = [
                f"{name}={value}" for name, value in fields["tags"].items()
            ]
        asked = {"key": self._known[key], "tool": tool, "arguments": arguments}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        self.offered = answer["tools"]
        self.used.add(tool)
        return answer.get("text") or answer["error"]

    def __call__(self, tool, *, key="AGENT_KEY", **fields):
        """Use a tool; return its text, with the punctuation of all three."""
        return self.ask(key, tool, **fields).replace("—", "--").replace("→", "->")


def python_with(folder, requirements):
    """Install packages into an environment of their own; later runs find it in pytest's
    cache.
    """
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        python = folder / "venv" / "bin" / "python"
        done = folder / "installed"
        if done.exists() and done.read_text() == " ".join(requirements):
            return python
        subprocess.run(
            [sys.executable, "-m", "venv", "--clear", str(folder / "venv")],
            check=True,
            timeout=120,
        )
        install = [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            *requirements,
        ]
        try:
            ran = subprocess.run(
                install,
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            pytest.skip(
                f"pip did not install {requirements[0]} in {INSTALL_SECONDS} s: is PyPI slow?"
            )
        if ran.returncode:
            pytest.skip(
                f"pip cannot install {requirements[0]}: {ran.stderr.strip().splitlines()[-1:]}"
            )
        done.write_text(" ".join(requirements))
        return python


@pytest.fixture(params=CLIENTS)
def tools(request, product, tmp_path):
    folder = Path(request.config.cache.mkdir(f"published-{request.param}"))
    python = python_with(folder, CLIENTS[request.param])
    command = [
        str(python),
        str(HERE / "published_client_runner.py"),
        f"{request.param}_multimail",
        product.known["GATEWAY_URL"],
    ]
    # LlamaIndex and CrewAI store files in the home folder, and CrewAI reports its use
    # to its makers.
    env = recipes.environment(
        product,
        HOME=str(tmp_path),
        CREWAI_DISABLE_TELEMETRY="true",
        OTEL_SDK_DISABLED="true",
    )
    log = tmp_path / "client.log"
    with (
        log.open("w") as errors,
        recipes.running(
            command,
            env=env,
            log=tmp_path / "unused.log",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process,
    ):
        yield Tools(request.param, process, product.known)


def test_every_tool_says_what_happened(product, tools):
    mailbox = product.known["MAILBOX_ID"]
    address = product.known["MAILBOX_ADDRESS"]
    subject = f"Asked {time.time_ns()}"
    name = f"Dana {time.time_ns()}"
    base = f"/v1/mailboxes/{mailbox}/emails"
    received = recipes.receive(product, subject)
    ids = {"mailbox_id": mailbox, "email_id": received["id"]}

    listed = tools("check_inbox", mailbox_id=mailbox, direction="inbound", limit=1)
    assert (
        listed
        == f"- [inbound] {subject} -- from dana@northwind.example (unread)\n  ID: {received['id']}"
    )
    read = tools("read_email", **ids).splitlines()
    assert read[:4] == [
        f"Subject: {subject}",
        "From: dana@northwind.example",
        f"To: {address}",
        f"Date: {received['received_at']}",
    ]
    assert "It was due on Monday." in read

    contact = {
        "name": name,
        "email": f"{name.replace(' ', '.').lower()}@northwind.example",
    }
    assert tools("search_contacts", q=name) == "No contacts found."
    assert product.call("POST", "/v1/contacts", json=contact).status_code == 201
    assert tools("search_contacts", q=name) == f"- {name} <{contact['email']}>"

    replied = tools("reply_email", **ids, markdown="It comes **today**.")
    reply = product.call(
        "GET", base, params={"direction": "outbound", "limit": "1"}
    ).json()["emails"][0]
    assert replied == f"Reply queued -- id: {reply['id']}, status: pending_scan"
    thread = tools("get_thread", mailbox_id=mailbox, thread_id=received["thread_id"])
    assert thread.split("\n\n") == [
        f"[inbound] dana@northwind.example: {subject}",
        f"[outbound] {address}: {reply['subject']}\n",
    ]
    tools("tag_email", **ids, tags={"order": "4471"})
    assert product.call("GET", f"{base}/{received['id']}/tags").json()["tags"] == {
        "order": "4471"
    }

    new = {
        "mailbox_id": mailbox,
        "to": ["dana@northwind.example"],
        "cc": ["cee@northwind.example"],
    }
    sent = tools(
        "send_email", **new, subject=f"New {subject}", markdown="Hello **Dana**"
    )
    message = product.call(
        "GET", base, params={"direction": "outbound", "limit": "1"}
    ).json()["emails"][0]
    assert (
        sent
        == f"Email queued -- id: {message['id']}, status: pending_scan, thread: {message['thread_id']}"
    )
    assert message["status"] == "pending_send_approval"
    pending = tools("list_pending", key="OVERSIGHT_KEY").splitlines()
    line = pending.index(f"  ID: {message['id']} | Status: pending_send_approval")
    assert pending[line - 1] == f"- New {subject} -> dana@northwind.example"

    decision = {"email_id": message["id"], "action": "approve", "reason": "Looks right"}
    assert "scope" in tools("decide_email", **decision)
    assert product.mails(f"New {subject}") == []
    decided = tools("decide_email", key="OVERSIGHT_KEY", **decision)
    assert (
        decided
        == f"Email {message['id']} -- decision: approve, new status: approved_and_sent"
    )
    [mail] = product.wait_for(
        lambda: product.mails(f"New {subject}"), timeout=60, what="the mail"
    )
    assert mail["Cc"] == "cee@northwind.example"
    assert tools.used == set(tools.offered)
