"""The audit trail of one message alone answers who started it, what was sent, who
decided, what came.
"""

import json

import pytest
from django.db import transaction

from approvals.decisions.shown import note_opened
from audit.models import Entry
from audit.recording import record
from audit.trail.answers import summary_of
from audit.trail.proof import prove, readable_proof
from audit.verifier import countersign_verify as verifier
from common.actors import webhook, worker
from tests.factories import make_message
from tests.integration.deciding import decide
from tests.ledger import append, erase_here, latest_details, seal_here
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
