"""Proofs of one message: complete, accepted by the standalone verifier, and readable
beside it.
"""

import json
import re
import uuid

import pytest
from django.db import transaction

from audit.models import Entry
from audit.recording import record
from audit.retention import erase_details_of
from audit.trail.proof import NotProvable, prove, readable_proof
from audit.verifier import countersign_verify as verifier
from common.actors import worker
from tests.factories import make_message
from tests.ledger import append, seal_here

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
    return verifier.check_proof(proof.as_json().encode())


def entries_of(proof):
    return [one for batch in proof.data["batches"] for one in batch["entries"]]


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
    about = (
        Entry.objects.of_message(message.public_id)
        .of_action("comment.added")
        .newest_first()[0]
    )
    assert [batch["seal"]["number"] for batch in proof.data["batches"]] == [1, 2]
    assert (
        len(entries_of(proof))
        == Entry.objects.of_message(message.public_id).count() - 1
    )
    checked = check(proof)
    assert checked.report.findings == []
    told = "\n".join(checked.lines)
    for expected in (
        f"Message: {message.public_id}",
        "Action: comment.added",
        f"By entry {about.pk} under",
        "“Łódź”",
    ):
        assert expected in told
    # Without details it contains nothing personal, and the verifier names what is
    # missing.
    proof = proof_of(message, with_details=False)
    checked = check(proof)
    assert checked.report.findings == []
    assert "MISSING details, removed or left out: actor, reason" in "\n".join(
        checked.lines
    )
    assert "Łódź" not in proof.as_json()


def test_entries_that_are_not_sealed_are_named_and_erased_details_leave_a_proof_that_holds(
    message, admin
):
    record_comments(message, 2)
    newest = list(
        Entry.objects.of_message(message.public_id)
        .newest_first()
        .values_list("pk", flat=True)[:2]
    )
    proof = proof_of(message)
    assert proof.not_sealed == sorted(newest)
    assert all(
        f'"id":{number},' not in one["entry"]
        for number in newest
        for one in entries_of(proof)
    )
    assert f"#{min(newest)},\n" in readable_proof(proof)
    assert check(proof).report.findings == []
    erase_details_of(
        message.public_id, because="asked", actor=admin.actor(surface="command")
    )
    proof = proof_of(message)
    assert {one["salt"] for one in entries_of(proof)} == {None}
    assert check(proof).report.findings == []
    assert "Its personal details were removed." in readable_proof(proof)


def test_readable_page_runs_nothing_and_says_how_the_file_is_checked(message):
    page = readable_proof(proof_of(message))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[
        1
    ]
    assert policy.startswith("default-src &#x27;none&#x27;; style-src &#x27;sha256-")
    assert "This page proves nothing by itself" in page
    assert (
        f"python3 -I countersign_verify.py countersign-{message.public_id}.json" in page
    )
    assert "Łódź" not in readable_proof(proof_of(message, with_details=False))


def test_message_without_sealed_entries_or_with_too_many_has_no_proof(
    connection, signed_in, auditor, monkeypatch
):
    made = make_message(connection)
    with pytest.raises(NotProvable), transaction.atomic():
        proof_of(made)
    client = signed_in(auditor)
    path = f"/audit/trace/{made.public_id}/proof.json"
    answer = client.post(path)
    assert answer.status_code == 409
    assert "No entry of this message is sealed yet" in answer.text
    seal_here()
    monkeypatch.setattr("audit.trail.proof.MOST_HASHES", 0)
    answer = client.post(path)
    assert answer.status_code == 409
    assert "Export a bundle of the ledger instead" in answer.text
    assert client.post(f"/audit/trace/{uuid.uuid4()}/proof.json").status_code == 404


def test_taking_a_proof_takes_a_press_is_noted_and_hands_out_files(
    message, signed_in, auditor
):
    client = signed_in(auditor)
    path = f"/audit/trace/{message.public_id}/proof"
    assert client.get(f"{path}.json").status_code == 405
    for form, kind in (("json", "application/json"), ("html", "text/html")):
        answer = client.post(f"{path}.{form}")
        assert answer["Content-Type"].startswith(kind)
        assert (
            answer["Content-Disposition"]
            == f'attachment; filename="countersign-{message.public_id}.{form}"'
        )
        noted = (
            Entry.objects.of_message(message.public_id)
            .of_action("ledger.proof_taken")
            .newest_first()[0]
        )
        assert noted.actor_id == str(auditor.pk)
        assert noted.detail.fields["format"] == form
    answer = client.post(f"{path}.json", {"details": "no"})
    assert {
        one["salt"]
        for batch in json.loads(answer.content)["batches"]
        for one in batch["entries"]
    } == {None}
