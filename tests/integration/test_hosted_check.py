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
from tests.hosted.running import ADMIN, AGENT, OVERSIGHT, READ, hosted
from tests.integration.gateway.world import add_key, make_inbound
from tests.serving import named

SANDBOX = {
    "mm_test_agent_key": ["read", "send"],
    "mm_test_oversight_key": ["oversight"],
}
EMAILS = "GET /v1/mailboxes/{}/emails"
EMAIL = "GET /v1/mailboxes/{}/emails/{}"
PENDING = "GET /v1/oversight/pending"
DECIDE = "POST /v1/oversight/decide"
API_KEYS = "GET /v1/api-keys"
WEBHOOKS = "GET /v1/webhooks"
SEND = "POST /v1/mailboxes/{}/send"
DOMAINS = "GET /v1/domains"
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
PLANTED = [
    (
        "Hosted MultiMail sends no header",
        {PENDING: {"headers": {"X-Countersign-Gateway": "1"}}},
    ),
    ("Ids are text", {"ids": "number"}),
    (
        "received_at is ISO 8601",
        {PENDING: {"rows": {"emails": {"received_at": 1780000000}}}},
    ),
    (
        "Lists of messages carry no",
        {EMAILS: {"rows": {"emails": {"markdown": "Hello"}}}},
    ),
    ("Lists of messages have the newest", {EMAILS: {"reversed": ["emails"]}}),
    ("A list goes on at its cursor", {EMAILS: {"fields": {"cursor": None}}}),
    (
        "An attachment comes as",
        {f"{EMAIL}/attachments/{{}}": {"body": {"content_base64": "d29yZHM="}}},
    ),
    (
        "Held messages have one of two",
        {PENDING: {"rows": {"emails": {"status": "scheduled"}}}},
    ),
    (
        "A single webhook shows",
        {f"{WEBHOOKS}/{{}}": {"fields": {"signing_secret": "hex"}}},
    ),
    ("A send with the same", {SEND: {"was": 200, "fields": {"id": "another"}}}),
    ("What a gated mailbox sends", {PENDING: {"body": {"emails": []}}}),
    ("An agent's key cannot decide", {DECIDE: {"was": 403, "status": 409}}),
    (
        "A rejection answers",
        {DECIDE: {"was": 200, "fields": {"status": "turned_down"}}},
    ),
    ("That 409 has status", {DECIDE: {"was": 409, "fields": {"status": None}}}),
    ("The reason comes back", {"takes_reason": False}),
    ("A single read marks", {EMAILS: {"rows": {"emails": {"status": "unread"}}}}),
    (
        "Errors are JSON objects",
        {API_KEYS: {"status": 403, "body": {"title": "Forbidden"}}},
    ),
    ("A success is a JSON object", {DOMAINS: {"body": []}}),
    (
        "Retry-After of a 429",
        {
            WEBHOOKS: {
                "status": 429,
                "headers": {"Retry-After": "soon"},
                "body": {"error": "Slow"},
            }
        },
    ),
]


@pytest.fixture(scope="module")
def _host():
    with hosted() as host, named(host.url):
        yield host


@pytest.fixture
def host(_host):
    """A lenient host with something in every list, and the keys of a sandbox."""
    fill(_host)
    return _host


def fill(host, **switches):
    host.begin("lenient", **switches)
    hook = {"url": "http://127.0.0.1:9/", "events": ["oversight.pending"]}
    host.control(scopes=SANDBOX, know="dana@northwind.example")
    host.ask("POST", "/v1/webhooks", json=hook)
    host.control(receive={})
    host.control(decide={"ids": [host.hold()], "action": "reject"})
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
    assert [one["what"] for one in host.shown["effects"]] == ["rejected", "rejected"]


def test_a_strict_host_differs_in_what_it_refuses(check, host):
    host.set(strict=True, takes_reason=False)
    found, _ = every(check, host)
    assert differing(found) == {
        "Fields of a decision that only our gateway knows are ignored.": "decided_by, expected_fingerprint",
        "A decision takes a reason.": "it is refused",
        "The reason comes back, in that 409 or when the message is read.": "neither has it",
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fact", "planted"), PLANTED, ids=[fact for fact, _ in PLANTED]
)
def test_a_planted_difference_is_reported_and_no_other(
    check, host, monkeypatch, fact, planted
):
    monkeypatch.setattr("connections.hosted.sandbox.SCAN_SECONDS", 0)
    alters = {call: how for call, how in planted.items() if " " in call}
    switches = {name: value for name, value in planted.items() if name not in alters}
    fill(host, **switches)
    host.set(alters=alters)
    found, _ = every(check, host)
    assert [one[: len(fact)] for one in differing(found)] == [fact], found


def test_reads_alone_change_nothing(check, host):
    for allowed in ("no", ""):
        found, _ = check(host.url, OVERSIGHT, READ, ADMIN, *SANDBOX, allowed=allowed)
        assert "A second decision is 409." not in found
    asked = [(one["method"], one["path"]) for one in host.shown["calls"]]
    assert {method for method, _ in asked[-20:]} == {"GET"}
    assert [
        mail["status"] for mail in host.shown["mails"] if mail["direction"] == "inbound"
    ] == ["unread"]


def test_a_live_key_is_refused_in_the_sandbox_step(check, host):
    before = len(host.shown["calls"])
    with pytest.raises(CommandError, match="A sandbox key begins with mm_test_"):
        check(host.url, OVERSIGHT, READ, ADMIN, AGENT, OVERSIGHT)
    assert len(host.shown["calls"]) == before


def test_without_keys_it_says_what_could_not_be_seen(check, host):
    found, _ = check(host.url, OVERSIGHT)
    assert found["Contacts have email."] == (
        "could not be seen",
        "no read key was given",
    )
    assert found["An unknown key is 401."] == ("seen", "")


def test_keys_are_asked_for_on_a_terminal(monkeypatch, tmp_path, host):
    answers = iter((OVERSIGHT, READ, "", "", ""))
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    out = io.StringIO()
    call_command(
        "hosted_check", host.url, "--output", str(tmp_path / "facts.json"), stdout=out
    )
    assert "seen               Account lists: Contacts have email.\n" in out.getvalue()


def test_our_gateway_differs_where_it_extends_the_api(check, account):
    world = account.world
    tester = add_key(world, "tester", ["read", "send"], prefix="mm_test_")
    decider = add_key(world, "decider", ["oversight"], prefix="mm_test_")
    make_inbound(world, sandbox=True)
    found, printed = check(
        account.gateway.url,
        *(world.keys[name] for name in ("desk", "reader", "admin")),
        tester,
        decider,
    )
    assert differing(found) == {
        "Hosted MultiMail sends no header X-Countersign-Gateway.": "the header is there: this is our gateway",
        "Fields of a decision that only our gateway knows are ignored.": "expected_fingerprint",
    }
    assert "\nthere              holding all mail\n" in printed


def test_each_fact_names_a_section_of_the_page():
    page = (Path(__file__).parents[2] / "docs" / "multimail.md").read_text()
    headings = re.findall("^#+ (.+)$", page, re.M)
    assert {*ALL.values()} - {*headings} == set()
