"""`hosted_check` against the stand-in for hosted MultiMail: it reports the difference
that is planted, and no other.
"""

import io
import json
import re
from pathlib import Path

import pytest
from django.core.management import call_command

from connections.hosted import FACTS
from connections.management.commands.hosted_check import KEYS, variable
from tests.hosted.host import ADMIN, OVERSIGHT, READ
from tests.hosted.running import hosted

# What is planted for each way of checking, by the beginning of the fact that it is
# about.
PLANTED = {
    "GET /v1/oversight/pending": {
        "fields": {"pending": None, "emails": None, "messages": None}
    },
    "GET /v1/mailboxes/{}/emails": {
        "rows": {"emails": {"markdown": "Hello", "status": "a refund"}}
    },
    "GET /v1/mailboxes/{}/emails/{}": {"fields": {"attachments": None}},
    "GET /v1/contacts": {"status": 429, "body": {"error": "Slow"}},
    "GET /v1/webhook-deliveries": {"body": []},
}


@pytest.fixture(scope="module")
def _host():
    with hosted() as host:
        yield host


@pytest.fixture
def host(_host):
    """A lenient host with something in every list."""
    fill(_host)
    return _host


def fill(host, **switches):
    host.begin("lenient", **switches)
    dana = "dana@northwind.example"
    host.contacts.append({"id": "1", "name": "Dana", "email": dana, "created_at": 1})
    host.suppressed.append({"id": "1", "email_address": dana, "reason": "hard_bounce"})
    host.box.allowlist.append({"id": "1", "pattern": dana})
    hook = {"url": "http://127.0.0.1:9/", "events": ["oversight.pending"]}
    host.answer("POST", "/v1/webhooks", {}, hook, ADMIN)
    host.receive()
    host.hold()
    host.decide_elsewhere("reject")
    host.hold()


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Run the command with these keys; return the outcome and detail of each fact, and
    the output.
    """

    def run(url, *keys):
        for slot, key in zip(KEYS, keys, strict=True):
            monkeypatch.setenv(variable(slot), key)
        file = tmp_path / "facts.json"
        out = io.StringIO()
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


def of_outcome(found, wanted):
    return {
        fact: detail for fact, (outcome, detail) in found.items() if outcome == wanted
    }


def test_every_fact_of_a_host_as_documented_is_seen_by_reads_alone(check, host):
    before = len(host.calls)
    found, _ = check(host.url, OVERSIGHT, READ, ADMIN)
    assert len(of_outcome(found, "seen")) == len(found) == sum(map(len, FACTS.values()))
    assert {method for method, *_ in host.calls[before:]} == {"GET"}
    assert "unread" in [mail.status for mail in host.mails.values()]


def test_planted_differences_are_reported_and_no_others(check, host):
    fill(host, alters=PLANTED)
    found, _ = check(host.url, OVERSIGHT, READ, ADMIN)
    assert {" ".join(fact.split()[:4]) for fact in of_outcome(found, "differs")} == {
        "Listed messages have known",
        "Lists of messages carry",
        "A single read has",
        "What is held stands",
    }
    assert of_outcome(found, "could not be seen")["Contacts have email."] == (
        "GET /v1/contacts: 429"
    )


def test_our_gateway_answers_as_documented(check, account):
    keys = (account.world.keys[name] for name in ("desk", "reader", "admin"))
    found, printed = check(account.gateway.url, *keys)
    assert of_outcome(found, "differs") == {}
    assert "\nthere              holding all mail\n" in printed


def test_each_fact_names_a_section_of_the_page():
    page = (Path(__file__).parents[2] / "docs" / "multimail.md").read_text()
    assert FACTS.keys() - {*re.findall("^#+ (.+)$", page, re.M)} == set()
