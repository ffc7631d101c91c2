"""Any id or value that somebody outside was given of a message finds it in one search,
in Find and in Audit, and leads to who decided it; and decisions that were made outside
this desk are found and counted like others.
"""

import re
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from django.db.models.functions import Now

from approvals.decisions.decide import give_verdict
from approvals.decisions.execute import run_decision
from approvals.operations.attention import attention_for
from approvals.reconcile.reads import ask_about
from common.fingerprint import short_fingerprint
from common.postgres import clock
from gateway.accounts import register_key
from gateway.models import Allowlist, ApiKey, Email
from mirror.models import Connection, Message
from mirror.sync.account import learn
from tests.factories import change_row, make_message
from tests.integration.deciding import make_due, read_all
from tests.integration.gateway.world import leave
from tests.integration.hosted_desk import text_of
from tests.ledger import lines_of

STARTED = {
    "discord_user": "dana#4471",
    "discord_user_id": "118000000000000042",
    "discord_channel": "refunds-desk",
    "discord_channel_id": "118000000000000777",
    "discord_guild": "Northwind Traders",
    "discord_interaction_id": "1180000000000000427",
    "run_id": "run_01JZXAMPLE",
    "ticket": "ZD-90210",
}


@pytest.fixture
def decided(account, mail_server, reviewer, connection):
    """A message that was sent with metadata, approved on Discord, and delivered to a
    mail server; among others.
    """
    for number in range(2):
        make_message(
            connection, metadata={"ticket": f"ZD-{number}"}, to=["lee@contoso.example"]
        )
    account.send(subject="Refund 17", metadata=STARTED)
    read_all(account.connection)
    message = Message.objects.get(connection=account.connection)
    actor = replace(
        reviewer.actor(surface="discord"),
        proof=(("discord", "ana.f"), ("interaction", "1180000000000009999")),
    )
    result = give_verdict(
        message=message.public_id,
        actor=actor,
        outcome="approve",
        reason="",
        fingerprint=message.fingerprint,
    )
    make_due()
    assert run_decision(decision_id=result.decision.pk) == "applied"
    mail_server.accepts = "250 2.0.0 Ok: queued as 4XyZ1234"
    assert leave(message.upstream_id) == "sent"
    ask_about(message.pk, clock())
    message.refresh_from_db()
    assert message.state == "delivered"
    return message


def first_of(page):
    """The entry with which a page of the audit begins."""
    return [*page.context["decisions"], *page.context["lines"]][0]


def check_starts(client, message, starts):
    """Each start of a search leads to the verdict in the audit, and in Find and History
    to the message with who approved it, and to no other message.
    """
    giver = message.decisions.get().giver
    for name, start in starts.items():
        query = urlencode({"q": start})
        entry = first_of(client.get(f"/audit/?{query}"))
        assert (entry.action, entry.message) == ("verdict.given", message.public_id), (
            name
        )
        found = client.get(f"/find/?{query}").text
        assert f"/queue/{message.public_id}/" in found, name
        assert f"Approved by {giver}" in text_of(client.get(f"/find/?{query}")), name
        assert len(re.findall(r'href="/queue/[0-9a-f-]{36}/', found)) == 1, name
        rows = client.get(f"/history/?{query}").context["rows"]
        assert [row.message for row in rows] == [message], name


@pytest.mark.slow
def test_ten_starts_of_a_search_lead_to_the_decision(decided, signed_in, auditor):
    email = Email.objects.get(pk=decided.upstream_id)
    check_starts(
        signed_in(auditor),
        decided,
        {
            "the id of a card, an answer, a webhook or a bounce notice": decided.upstream_id,
            "a header of the delivered mail": email.message_id_header,
            "the mail server's name, as in a bounce's text": "4XyZ1234",
            "the interaction of the command": STARTED["discord_interaction_id"],
            "the interaction of the press": "1180000000000009999",
            "the run of a workflow": STARTED["run_id"],
            "a value of the metadata": STARTED["ticket"],
            "the reference of the decision": decided.decisions.get().reference,
            "the beginning of the fingerprint": short_fingerprint(decided.fingerprint)[
                :9
            ],
            "the name of who decided": str(decided.decisions.get().given_by),
        },
    )


# --- Decisions made outside this desk -------------------------------------------------


@pytest.fixture
def elsewhere(account):
    """Send messages, have the desk read them, and another client decide them."""

    def decide(number=1, *, action="approve", learns=read_all, **fields):
        for one in range(number):
            account.send(subject=f"Offer {one}", body=f"Hello {one}.")
        read_all(account.connection)
        rows = list(Message.objects.filter(connection=account.connection, state="held"))
        for row in rows:
            body = {"email_id": row.upstream_id, "action": action, **fields}
            answer = account.ask(
                "POST", "/v1/oversight/decide", key="second", json=body
            )
            assert answer.status_code == 200
        learns(account.connection)
        for row in rows:
            row.refresh_from_db()
        return rows

    make_second_key(account)
    return decide


def make_second_key(account):
    """Another key that decides, which does not begin like the desk's."""
    account.world.keys["second"] = "mm_live_other"
    return register_key(
        account.world.account, "mm_live_other", name="Second desk", scopes=["oversight"]
    )


def test_decision_elsewhere_is_an_entry_with_its_name(
    elsewhere, signed_in, auditor, settings
):
    settings.EMAIL_URL = "smtp://mail.example"
    [message] = elsewhere(decided_by="Priya Shah", reason="Known customer")
    [entry] = lines_of("decision.elsewhere")
    assert (entry.message, entry.outcome) == (message.public_id, "approve")
    assert entry.details["decided_by"] == "Priya Shah"
    client = signed_in(auditor)
    # In the default view, and first of what the message's id finds.
    shown = text_of(client.get("/audit/"))
    assert "reported a decision that was made outside this desk (approved)" in shown
    assert "Priya Shah" in shown
    for start in (message.upstream_id, "Priya Shah"):
        found = client.get("/audit/", {"q": start})
        assert first_of(found).action == "decision.elsewhere", start
    trail = text_of(client.get(f"/audit/trace/{message.public_id}/"))
    assert "Priya Shah approved it outside this desk" in trail
    assert "Known customer" in trail
    assert "Nobody decided it" not in trail
    assert "sync worker sent" not in trail
    found = text_of(client.get("/find/", {"q": message.upstream_id}))
    assert "Approved. Decided outside this desk by Priya Shah" in found


# --- Outside this desk ----------------------------------------------------------------


def open_doors(account):
    """What the desk found out about the doors of the account, by kind."""
    Connection.objects.update(surveyed_at=None)
    learn(account.connection.pk)
    return Connection.objects.get(pk=account.connection.pk).doors


def test_page_names_the_doors_that_are_open(account, signed_in, admin, reviewer):
    closed = {"oversight_email": [], "keys": [], "modes": [], "bypass": []}
    assert open_doors(account) == closed
    address = f"/connections/{account.connection.pk}/"
    client = signed_in(admin)
    assert (
        "Open"
        not in text_of(client.get(address)).partition("Outside this desk")[2][:400]
    )
    listed = Allowlist.objects.create(
        mailbox=account.world.mailbox, kind="bypass", mode="enforce"
    )
    added_by = account.world.key_id("admin")
    listed.entries.create(pattern="northwind.example", added_by_key_id=added_by)
    account.world.account.oversight_email = "boss@acme.example"
    account.world.account.save()
    make_second_key(account)
    change_row(account.world.mailbox, oversight_mode="monitored")
    mailbox = account.mailbox.address
    assert open_doors(account) == {
        "oversight_email": ["boss@acme.example"],
        "keys": ["Second desk"],
        "modes": [mailbox],
        "bypass": [mailbox],
    }
    shown = text_of(client.get(address))
    assert "Second desk" in shown
    assert "boss@acme.example" in shown
    # Whoever does not look after the account learns that they are open.
    shown = text_of(signed_in(reviewer).get(address))
    assert "Open (1)" in shown
    assert "boss@acme.example" not in shown


def test_decision_that_no_door_explains_needs_attention(account, elsewhere, admin):
    def items():
        found = attention_for(admin.actor(surface="web"), clock())
        return [one.what for one in found if one.kind == "unexplained"]

    elsewhere(decided_by="Mallory")
    # What could not be read explains nothing, and accuses nobody.
    assert items() == []
    open_doors(account)
    assert items() == []
    ApiKey.objects.filter(name="Second desk").update(revoked_at=Now())
    open_doors(account)
    [what] = items()
    assert what.endswith("by Mallory, and no known way explains it")
    # Hosted MultiMail mails links that decide to the oversight address.
    Connection.objects.update(
        is_our_gateway=False,
        doors={"keys": [], "oversight_email": ["boss@acme.example"]},
    )
    assert items() == []


# --- What is said to have happened ----------------------------------------------------
