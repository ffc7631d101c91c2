"""The audit trail of one message alone answers who started it, what was sent, who
decided, what came.
"""

import json
import re
import uuid
from importlib import import_module
from types import SimpleNamespace
from uuid import uuid4

import pytest
from django.db import transaction

from approvals.decisions.shown import note_opened
from audit.models import Entry
from audit.recording import record
from audit.trail.answers import summary_of
from audit.trail.proof import prove, readable_proof
from audit.verifier import countersign_verify as verifier
from common.actors import rule, webhook, worker
from tests.factories import make_message
from tests.integration.deciding import decide
from tests.ledger import append, erase_here, latest_details, seal_here
from tests.markup import says, words_of

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
        question: " ".join("".join(piece.text for piece in one) for one in sentences)
        for question, sentences in summary_of(message.public_id)["answers"]
    }


def read(client, message):
    answer = client.get(f"/audit/trace/{message.public_id}/")
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
    record_action(message, "message.bounced", reason="Mailbox full")
    page = read(signed_in(auditor), message)
    for expected in (
        *STARTED.values(),
        "asked for it, interaction 99001 (claimed by the sender)",
        "sent with the API key “ Invoices ” (verified)",
        "Invoice 4711",
        "lee@fabrikam.example",
        f"{reviewer.name} approved version 1",
        "Sums agree",
        "before deciding",
        "They were told: “",
        "reported a bounce",
        "Mailbox full",
    ):
        assert expected in page


ENDS = [
    (["message.sent"], "Nobody. It was never held for review."),
    (
        ["message.held", "message.approved"],
        "MultiMail reported the message as approved",
    ),
    (["message.held", "message.released"], "on this desk. MultiMail released"),
    (["message.held", "message.gone"], "how it was decided is not known"),
    (["message.held"], "Nobody has decided it."),
    (["message.held", "decision.unknown"], "could not find out whether"),
    (["message.held", "decision.withdrawn"], "may still take effect"),
    (["message.received"], "received by email, from x@y.example"),
]


@pytest.mark.slow
def test_every_outcome_is_explained(connection):
    details = {"direction": "inbound", "sender": "x@y.example", "outcome": "approve"}
    for actions, words in ENDS:
        message = unheld(connection)
        for action in actions:
            record_action(message, action, **details)
        assert words in " ".join(answers(message).values()), actions


def unheld(connection):
    """A message that only the ledger will know."""
    return SimpleNamespace(
        public_id=uuid4(),
        connection_id=connection.pk,
        revision=SimpleNamespace(fingerprint=""),
    )


@pytest.mark.slow
def test_page_names_the_rule_that_decided_each_version_and_what_a_reviewer_never_opened(
    connection, reviewer
):
    message = make_message(connection)
    record_action(message, "message.changed", version=2, subject="Second")
    answer = answers(message)["What was sent, and to whom?"]
    for expected in ("Version 1", "Version 2", "“Second”"):
        assert expected in answer
    assert answers(message)["Who saw what?"] == "Nobody opened it on this desk."
    decide(message, reviewer)
    assert "never opened that version on the desk" in answers(message)["Who saw what?"]
    by_rule = unheld(connection)
    how = {"outcome": "reject", "rule": "expiry", "reason": "Too late"}
    record_action(by_rule, "decision.recorded", rule("expiry"), **how)
    answer = answers(by_rule)["Who decided it, and when?"]
    assert "The desk rejected it by the rule “expiry”" in answer
    assert "Too late" in answer


def test_what_a_verdict_rested_on_outlives_the_mirror(connection, reviewer):
    message = make_message(connection, markdown="Pay to DE89370400440532013000 now")
    note_opened(message, actor=reviewer.actor(surface="web"))
    decide(message, reviewer, "reject", reason="No")
    details = latest_details("verdict.given")
    findings = details["findings"].split("\n")
    assert len(findings) == len(message.revision.findings) > 0
    assert message.revision.findings[0]["sentence"] in details["findings"]
    assert details["ruling"]
    assert details["risk"]
    told = f"The findings: “{details['findings'].splitlines()[0]}"
    assert told in answers(message)["Who saw what?"]


def test_steps_are_folded_and_seals_stand_at_each_entry(signed_in, connection, auditor):
    hostile = {"discord_user": "<img src=x onerror=alert(1)>"}
    message = make_message(connection, metadata=hostile)
    seal = seal_here(message=message.public_id)
    record_action(message, "alert.delivered", worker("alerts"))
    record_action(message, "message.sent", reason="</script>\u202egnp")
    page = signed_in(auditor).get(f"/audit/trace/{message.public_id}/").text
    assert f"seal {seal.number}" in page
    assert "not sealed yet" in page
    assert '<details class="steps"><summary>1 technical step</summary>' in page
    assert re.search(r"\d+ of \d+ entries are sealed", words_of(page))
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page
    assert "\u202e" not in page


@pytest.mark.slow
def test_more_entries_than_a_page_are_paged_and_none_is_lost(
    signed_in, connection, auditor, monkeypatch
):
    # The package has a view of the module's name.
    monkeypatch.setattr(import_module("audit.trail.views"), "PAGE", 4)
    message = make_message(connection)
    for _ in range(4):
        record_action(message, "message.asked_about")
    client = signed_in(auditor)
    found = []
    after = 0
    while after is not None:
        path = f"/audit/trace/{message.public_id}/?after={after}"
        found += re.findall(r'<li id="line-(\d+)"', client.get(path).text)
        after = client.get(f"{path}&format=json").json()["next_after"]
    entries = Entry.objects.of_message(message.public_id).oldest_first()
    assert found == [str(one.pk) for one in entries]


ACTOR = worker("proof")
HOSTILE = "</p><script>alert(1)</script> “Łódź”"


def record_comments(message, number=3):
    for _ in range(number):
        record(
            "comment.added",
            actor=ACTOR,
            message=message.public_id,
            details={"reason": HOSTILE},
        )


def proof_of(message, **how):
    return prove(message.public_id, actor=ACTOR, form="json", **how)


def check(proof):
    return verifier.check_proof(proof.text.encode())


def batches_of(proof):
    return json.loads(proof.text)["batches"]


def entries_of(proof):
    return [one for batch in batches_of(proof) for one in batch["entries"]]


@pytest.fixture
def message(connection):
    """A message whose entries lie among others, under two seals."""
    made = make_message(connection)
    for _ in range(2):
        append(3)
        record_comments(made)
        append(3)
        seal_here()
    return made


def test_proof_names_message_and_act_and_holds_with_and_without_details(message):
    proof = proof_of(message)
    entries = Entry.objects.of_message(message.public_id)
    about = entries.of_action("comment.added").newest_first()[0]
    assert [batch["seal"]["number"] for batch in batches_of(proof)] == [1, 2]
    assert len(entries_of(proof)) == entries.count() - 1
    checked = check(proof)
    assert checked.report.findings == []
    told = "\n".join(checked.lines)
    for expected in (
        f"Message: {message.public_id}",
        f"By entry {about.pk} under",
        "“Łódź”",
    ):
        assert expected in told
    # Without details it contains nothing personal, and the verifier names what is
    # missing.
    proof = proof_of(message, with_details=False)
    checked = check(proof)
    assert checked.report.findings == []
    missing = "MISSING details, removed or left out: actor, reason"
    assert missing in "\n".join(checked.lines)
    assert "Łódź" not in proof.text + readable_proof(proof)


def test_entries_that_are_not_sealed_are_named_and_erased_details_leave_a_proof_that_holds(
    message,
):
    record_comments(message, 2)
    newest = Entry.objects.of_message(message.public_id).newest_first()[:2]
    keys = sorted(one.pk for one in newest)
    proof = proof_of(message)
    assert proof.not_sealed == keys
    assert f"#{keys[0]},\n" in readable_proof(proof)
    assert "These answers are from the sealed entries alone." in readable_proof(proof)
    for key in keys:
        assert f'"id":{key},' not in str(entries_of(proof))
    assert check(proof).report.findings == []
    erase_here(message.public_id)
    proof = proof_of(message)
    # The last one is about the removal.
    assert {one["salt"] for one in entries_of(proof)[:-1]} == {None}
    assert check(proof).report.findings == []
    assert "Its personal details were removed." in readable_proof(proof)


def test_readable_page_runs_nothing_and_says_how_the_file_is_checked(message):
    page = readable_proof(proof_of(message))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "default-src &#x27;none&#x27;; style-src &#x27;sha256-" in page
    assert "This page proves nothing by itself" in page
    file = f"countersign-{message.public_id}.json"
    assert f"python3 -I countersign_verify.py {file}" in page


@pytest.mark.slow
def test_message_without_sealed_entries_or_with_too_many_has_no_proof(
    connection, signed_in, auditor, monkeypatch
):
    made = make_message(connection)
    client = signed_in(auditor)
    path = f"/audit/trace/{made.public_id}/proof.json"
    says(client.post(path), 409, "No entry of this message is sealed yet")
    seal_here()
    monkeypatch.setattr("audit.trail.proof.MOST_HASHES", 0)
    says(client.post(path), 409, "Export a bundle of the ledger instead")
    assert client.post(f"/audit/trace/{uuid.uuid4()}/proof.json").status_code == 404


def test_taking_a_proof_takes_a_press_is_noted_and_hands_out_files(
    message, signed_in, auditor
):
    client = signed_in(auditor)
    path = f"/audit/trace/{message.public_id}/proof"
    assert client.get(f"{path}.json").status_code == 405
    for form, kind in (("json", "application/json"), ("html", "text/html")):
        answer = client.post(f"{path}.{form}", {"details": "no"})
        assert answer["Content-Type"].startswith(kind)
        named = f'attachment; filename="countersign-{message.public_id}.{form}"'
        assert answer["Content-Disposition"] == named
        assert "Łódź" not in answer.text
        assert latest_details("ledger.proof_taken")["format"] == form
