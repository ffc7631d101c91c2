"""`hosted_check` against the stand-in for hosted MultiMail: it reports the difference
that is planted, and no other.
"""

import base64
import io
import json
import re
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from connections.hosted.facts import ANSWER_FACTS, FACTS
from connections.hosted.sandbox import SANDBOX_FACTS
from connections.management.commands.hosted_check import KEYS, variable
from tests.hosted.host import ADMIN, AGENT, OVERSIGHT, READ
from tests.hosted.running import hosted

SANDBOX = {
    "mm_test_agent_key": ["read", "send"],
    "mm_test_oversight_key": ["oversight"],
}
EMAILS = "GET /v1/mailboxes/{}/emails"
EMAIL = "GET /v1/mailboxes/{}/emails/{}"
PENDING = "GET /v1/oversight/pending"
DECIDE = "POST /v1/oversight/decide"
API_KEYS = "GET /v1/api-keys"
CONTACTS = "GET /v1/contacts"
WEBHOOKS = "GET /v1/webhooks"
SEND = "POST /v1/mailboxes/{}/send"
DELIVERIES = "GET /v1/webhook-deliveries"
ALL = {
    fact: section
    for table in (FACTS, SANDBOX_FACTS, ANSWER_FACTS)
    for section in table
    for fact in table[section]
}
THROTTLED = "Retry-After of a 429 is a plain number of seconds."
FILE = {
    "name": "a.txt",
    "content_base64": base64.b64encode(b"words").decode(),
    "content_type": "text/plain",
    "size": 5,
}

# What is planted for each way of looking, by the beginning of the fact that it is
# about.
PLANTED = {
    PENDING: {
        "headers": {"X-Countersign-Gateway": "1"},
        "rows": {"emails": {"received_at": 1780000000, "status": "a refund"}},
    },
    EMAILS: {
        "reversed": ["emails"],
        "rows": {"emails": {"markdown": "Hello", "status": "unread"}},
    },
    f"{EMAIL}/attachments/{{}}": {"body": {"content_base64": "d29yZHM="}},
    f"{WEBHOOKS}/{{}}": {"fields": {"signing_secret": "hex"}},
    SEND: {"was": 200, "fields": {"id": "another"}},
    DECIDE: {"was": 409, "fields": {"status": None}},
    API_KEYS: {"status": 403, "body": {"title": "Forbidden"}},
    DELIVERIES: {"body": []},
    CONTACTS: {
        "status": 429,
        "headers": {"Retry-After": "soon"},
        "body": {"error": "Slow"},
    },
}


@pytest.fixture(scope="module")
def _host():
    with hosted() as host:
        yield host


@pytest.fixture
def host(_host):
    """A lenient host with something in every list, and the keys of a sandbox."""
    fill(_host)
    return _host


def fill(host, **switches):
    host.begin("lenient", **switches)
    for key, scopes in SANDBOX.items():
        host.add_key(key, *scopes)
    dana = "dana@northwind.example"
    host.contacts.append({"id": "1", "name": "Dana", "email": dana, "created_at": 1})
    host.suppressed.append({"id": "1", "email_address": dana, "reason": "hard_bounce"})
    host.box.allowlist.append({"id": "1", "pattern": dana})
    hook = {"url": "http://127.0.0.1:9/", "events": ["oversight.pending"]}
    host.answer("POST", "/v1/webhooks", {}, hook, ADMIN)
    host.receive()
    host.hold()
    host.decide_elsewhere("reject")
    host.hold(attachments=[FILE])
    host.hold()


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Run the command with these keys and this answer; return the outcome and detail of
    each fact, and the output.
    """

    def run(url, *keys, allowed="yes"):
        for kind, key in zip(KEYS, keys, strict=False):
            monkeypatch.setenv(variable(kind), key)
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{allowed}\n"))
        out = io.StringIO()
        file = tmp_path / "facts.json"
        call_command("hosted_check", url, "--output", str(file), stdout=out)
        text = file.read_text()
        # No key, no address and nothing of a message.
        assert [
            word
            for word in (*keys, "northwind", "refund")
            if word in text + out.getvalue()
        ] == []
        return {
            one["fact"]: (one["outcome"], one["detail"])
            for one in json.loads(text)["facts"]
        }, out.getvalue()

    return run


def every(check, host):
    """The outcomes with all keys and the sandbox step."""
    return check(host.url, OVERSIGHT, READ, ADMIN, *SANDBOX)


def differing(found):
    return {
        fact: detail
        for fact, (outcome, detail) in found.items()
        if outcome == "differs"
    }


def test_every_fact_of_a_host_as_documented_is_seen(check, host):
    found, _ = every(check, host)
    unseen = {fact: outcome for fact, outcome in found.items() if outcome[0] != "seen"}
    assert unseen == {THROTTLED: ("could not be seen", "no call was throttled")}
    assert len(found) == len(ALL)
    # The message to oneself was rejected as one before, and nothing left.
    assert [one.what for one in host.ledger] == ["rejected", "rejected"]


def test_planted_differences_are_reported_and_no_others(check, host, monkeypatch):
    monkeypatch.setattr("connections.hosted.sandbox.SCAN_SECONDS", 0)
    fill(host, takes_reason=False, alters=PLANTED)
    found, _ = every(check, host)
    assert {" ".join(fact.split()[:4]) for fact in differing(found)} == {
        "Hosted MultiMail sends no",
        "received_at is ISO 8601",
        "Listed messages have known",
        "Held messages have one",
        "Lists of messages carry",
        "Lists of messages have",
        "An attachment comes as",
        "A single webhook shows",
        "A send with the",
        "That 409 has status",
        "The reason comes back,",
        "A single read marks",
        "Errors are JSON objects",
        "A success is a",
        "Retry-After of a 429",
    }


def test_reads_alone_change_nothing(check, host):
    for allowed in ("no", ""):
        found, _ = check(host.url, OVERSIGHT, READ, ADMIN, *SANDBOX, allowed=allowed)
        assert "A second decision is 409." not in found
    assert {method for method, *_ in host.calls[-20:]} == {"GET"}
    assert "unread" in [mail.status for mail in host.mails.values()]


def test_a_live_key_is_refused_in_the_sandbox_step(check, host):
    before = len(host.calls)
    with pytest.raises(CommandError, match="A sandbox key begins with mm_test_"):
        check(host.url, OVERSIGHT, READ, ADMIN, AGENT, OVERSIGHT)
    assert len(host.calls) == before


def test_each_fact_names_a_section_of_the_page():
    page = (Path(__file__).parents[2] / "docs" / "multimail.md").read_text()
    headings = re.findall("^#+ (.+)$", page, re.M)
    assert {*ALL.values()} - {*headings} == set()
