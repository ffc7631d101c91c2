"""The audit trail of one message alone answers who started it, what was sent, who
decided, what came.
"""

import re
from html import unescape
from importlib import import_module
from types import SimpleNamespace
from uuid import uuid4

from django.db import transaction

from approvals.decisions.shown import note_opened
from audit.models import Entry
from audit.recording import record
from audit.retention import erase_details_of
from audit.trail import lines
from audit.trail.answers import summary_of
from common.actors import rule, webhook, worker
from tests.factories import make_message
from tests.integration.deciding import decide
from tests.ledger import seal_here
from tests.markup import words_of

STARTED = {
    "discord_user": "dana",
    "discord_user_id": "8123",
    "discord_channel": "sales",
    "discord_guild": "Northwind",
    "discord_interaction_id": "99001",
    "run_id": "run-7",
}


def record_action(message, action, actor=None, **details):
    texts = {name: str(value) for name, value in details.items()}
    with transaction.atomic():
        return record(
            action,
            actor=actor or webhook("main", address="10.0.0.9"),
            connection=message.connection_id,
            message=message.public_id,
            fingerprint=message.revision.fingerprint,
            details=texts,
        )


def answers(message):
    return {
        one.question: " ".join(s.plain for s in one.sentences)
        for one in summary_of(message.public_id).answers
    }


def read(client, message, query=""):
    answer = client.get(f"/audit/trace/{message.public_id}/{query}")
    assert answer.status_code == 200
    return words_of(answer)


def test_page_alone_answers_the_five_questions(
    signed_in, connection, reviewer, auditor
):
    message = make_message(
        connection,
        subject="Invoice 4711",
        cc=["lee@fabrikam.example"],
        metadata=STARTED,
        sent_by_key_name="Invoices",
    )
    note_opened(message, actor=reviewer.actor(surface="web"))
    decide(message, reviewer, reason="Sums agree")
    record_action(message, "message.sent")
    record_action(message, "message.bounced", reason="Mailbox full")
    page = read(signed_in(auditor), message)
    for expected in ("dana", "8123", "sales", "Northwind", "99001", "run-7"):
        assert expected in page
    assert re.search(r"asked for it \(interaction 99001 ?\)\. claimed", page)
    assert re.search(r"sent with the API key “ ?Invoices ?”. verified", page)
    assert re.search(r"Invoice 4711 ?”, from .*to .*@.*cc .*lee@fabrikam.example", page)
    assert re.search(rf"{reviewer.name} approved version 1", page)
    for expected in (
        "Sums agree",
        "before deciding",
        "The ruling they saw: “",
        "It bounced",
        "Mailbox full",
    ):
        assert expected in page


ENDS = [
    (
        [("message.sent", {"subject": "Sent at once"})],
        "Nobody. It was never held for review.",
    ),
    (
        [("message.held", {}), ("message.approved", {"reason": "Fine"})],
        "reported it as approved",
    ),
    ([("message.held", {}), ("message.gone", {})], "does not say who decided"),
    ([("message.held", {})], "Nobody has decided it."),
    (
        [("message.held", {}), ("decision.unknown", {"outcome": "approve"})],
        "It is not known whether",
    ),
    ([("message.held", {}), ("decision.withdrawn", {})], "may still take effect"),
    (
        [("message.received", {"direction": "inbound", "sender": "x@y.example"})],
        "received by email from x@y.example",
    ),
]


def test_every_outcome_is_explained(connection):
    wrong = []
    for entries, says in ENDS:
        message = unheld(connection)
        for action, details in entries:
            record_action(message, action, **details)
        if says not in " ".join(answers(message).values()):
            wrong.append((says, answers(message)))
    assert wrong == []


def unheld(connection):
    """A message that only the ledger will know."""
    return SimpleNamespace(
        public_id=uuid4(),
        connection_id=connection.pk,
        revision=SimpleNamespace(fingerprint=""),
    )


def test_page_names_the_rule_that_decided_and_each_version(connection, reviewer):
    message = make_message(connection)
    record_action(
        message,
        "message.changed",
        version=2,
        subject="Second",
        recipients="lee@fabrikam.example",
    )
    answer = answers(message)["What was it, and for whom?"]
    for expected in ("Version 2", "“Second”", "Version 1"):
        assert expected in answer
    assert "never opened that version" not in answers(message)["Who saw what?"]
    decide(message, reviewer)
    assert "never opened that version on the desk" in answers(message)["Who saw what?"]

    by_rule = unheld(connection)
    record_action(by_rule, "message.held")
    record_action(
        by_rule,
        "decision.recorded",
        rule("expiry"),
        outcome="reject",
        rule="expiry",
        reason="Too late",
    )
    answer = answers(by_rule)["Who decided it, and when?"]
    assert "The desk rejected it by the rule “expiry”" in answer
    assert "Too late" in answer


def test_what_a_verdict_rested_on_outlives_the_mirror(connection, reviewer):
    message = make_message(
        connection,
        to=["dana@nortwind.example"],
        markdown="Pay to DE89370400440532013000 now",
    )
    note_opened(message, actor=reviewer.actor(surface="web"))
    decide(message, reviewer, "reject", reason="No")
    (line,) = lines(
        Entry.objects.of_message(message.public_id).of_action("verdict.given")
    )
    findings = line.details["findings"].split("\n")
    assert len(findings) == len(message.revision.findings) > 0
    assert message.revision.findings[0]["sentence"] in line.details["findings"]
    assert line.details["ruling"]
    assert line.details["risk"]
    assert (
        f"The page showed {len(findings)} finding" in answers(message)["Who saw what?"]
    )


def test_steps_are_folded_and_seals_stand_at_each_entry(signed_in, connection, auditor):
    message = make_message(
        connection, metadata={"discord_user": "<img src=x onerror=alert(1)>"}
    )
    seal = seal_here(message=message.public_id)
    record_action(
        message, "alert.delivered", worker("alerts"), destination="#approvals"
    )
    record_action(message, "message.sent", reason="</script>\u202egnp")
    page = signed_in(auditor).get(f"/audit/trace/{message.public_id}/").text
    assert f"seal {seal.number}" in page
    assert "not sealed yet" in page
    assert re.search(
        r"<details class=\"steps\"><summary>1 technical step</summary>", page
    )
    assert "An alert was posted in #approvals" in words_of(page)
    assert re.search(r"\d+ of \d+ entries are sealed", words_of(page))
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page
    assert "\u202e" not in page


def test_heading_of_a_chapter_fits_what_it_holds(signed_in, connection, auditor):
    message = make_message(connection)
    for action in ("message.opened", "claim.taken", "comment.added", "message.served"):
        record_action(message, action)
    record_action(message, "verdict.given", outcome="reject")
    for action in (
        "decision.calling",
        "decision.refused",
        "message.opened",
        "ledger.proof_taken",
    ):
        record_action(message, action)
    page = signed_in(auditor).get(f"/audit/trace/{message.public_id}/").text
    titles = re.findall(r'<h2 id="chapter-[1-9]">(.*?)</h2>', page)
    assert titles == [
        "Held",
        "Read, claimed and discussed",
        "Rejected",
        "Not carried out",
        "Read, again",
        "Proof downloaded",
    ]
    title = re.search(r"<title>(.*?)</title>", page, re.S)[1]
    assert f"{message.subject} · Audit trail" in unescape(title)


def test_removed_details_are_gone_and_named_as_removed(
    signed_in, connection, reviewer, auditor, admin
):
    message = make_message(connection, subject="A secret subject")
    decide(message, reviewer, reason="A secret reason")
    seal_here(message=message.public_id)
    erase_details_of(
        message.public_id, because="asked for", actor=admin.actor(surface="command")
    )
    page = read(signed_in(auditor), message)
    assert "The personal details of" in page
    assert "were removed on" in page
    assert "A secret" not in page
    assert "Personal details were removed." in page


def test_more_entries_than_a_page_are_paged_and_none_is_lost(
    signed_in, connection, auditor, monkeypatch
):
    # The package has a view of the module's name.
    monkeypatch.setattr(import_module("audit.trail.views"), "PAGE", 4)
    message = make_message(connection)
    for _ in range(4):
        record_action(message, "message.asked_about")
    client = signed_in(auditor)
    path = f"/audit/trace/{message.public_id}/"
    found = []
    after = 0
    while after is not None:
        page = client.get(f"{path}?after={after}").text
        listing = client.get(f"{path}?after={after}&format=json").json()
        found += [int(number) for number in re.findall(r'<li id="line-(\d+)"', page)]
        assert ("Later entries" in page) == (listing["next_after"] is not None)
        after = listing["next_after"]
    assert found == list(
        Entry.objects.of_message(message.public_id)
        .oldest_first()
        .values_list("pk", flat=True)
    )
