"""Proofs of one message: small, complete, and accepted by the standalone verifier."""

import base64
import json
import zlib

import pytest
from django.db import transaction

from audit.models import Entry
from audit.recording import record
from audit.retention import erase_details_of
from audit.trail.proof import NothingSealed, prove
from audit.verifier import countersign_verify as verifier
from people.actors import worker
from tests.factories import make_message
from tests.ledger import append, seal_here

pytestmark = pytest.mark.django_db
ACTOR = worker("proof")


def record_comments(message, number=3, **details):
    for _ in range(number):
        details = {"reason": "Mind “Łódź”", **details}
        record("comment.added", actor=ACTOR, message=message.public_id, details=details)


def proof_of(message, **how):
    return prove(message.public_id, actor=ACTOR, form="json", **how)


def findings(text):
    return verifier.check_proof(text.encode()).report.findings


def salts(entries):
    return {one["salt"] for one in entries}


@pytest.fixture
def message(connection):
    """A message whose entries lie among others, over more than one block of the tree."""
    made = make_message(connection)
    append(3)
    record_comments(made)
    append(3)
    seal_here(between=30)
    return made


def test_proof_holds_before_the_verifier_as_json_and_as_an_email(message):
    proof = proof_of(message)
    assert len(proof.data["entries"]) == Entry.objects.of_message(message.public_id).count() - 1
    assert findings(proof.as_json()) == []
    quoted = "\n".join(f"> {line}" for line in proof.as_text().splitlines())
    for mail in (proof.as_text(), f"Hello,\n\n{proof.as_text()}\nGreetings", quoted):
        assert findings(mail) == []
    assert max(map(len, proof.as_text().splitlines())) <= 110
    assert proof.seal.key_fingerprint in proof.as_text()
    # Without details it contains nothing personal.
    proof = proof_of(message, with_details=False)
    assert findings(proof.as_json()) == []
    assert "Łódź" not in proof.as_json()
    assert salts(proof.data["entries"]) == {None}


# Alterations of the proof and of its first comment.
ALTERED = {
    "name": lambda data, one: one["fields"].update(actor="Somebody else"),
    "detail gone": lambda data, one: one["fields"].pop("reason"),
    "entry": lambda data, one: one.update(entry=one["entry"].replace("comment", "commend")),
    "entry gone": lambda data, one: data["entries"].remove(one),
    "node gone": lambda data, one: data["nodes"].pop(),
    "size": lambda data, one: data["seal"].update(size=data["seal"]["size"] + 1),
    "root": lambda data, one: data["seal"].update(root="0" * 64),
}


def test_altered_proof_is_found(message):
    text, accepted = proof_of(message).as_json(), []
    for name, alter in ALTERED.items():
        data = json.loads(text)
        alter(data, next(one for one in data["entries"] if "comment.added" in one["entry"]))
        try:
            found = findings(json.dumps(data))
        except verifier.Unreadable as unreadable:
            found = [str(unreadable)]
        if not found:
            accepted.append(name)
    assert accepted == []


def test_entries_that_are_not_sealed_are_named_and_erased_details_leave_a_proof_that_holds(message, admin):
    record_comments(message, 2)
    newest = list(Entry.objects.of_message(message.public_id).newest_first().values_list("pk", flat=True)[:2])
    proof = proof_of(message)
    assert proof.data["not_sealed"] == sorted(newest)
    assert all(f'"id":{number},' not in one["entry"] for number in newest for one in proof.data["entries"])
    assert f"entries {min(newest)}, {max(newest)}" in proof.as_text()
    assert findings(proof.as_json()) == []
    erase_details_of(message.public_id, because="asked", actor=admin.actor(surface="command"))
    proof = proof_of(message)
    assert salts(proof.data["entries"]) == {None}
    assert findings(proof.as_json()) == []


def test_message_of_which_nothing_is_sealed_has_no_proof_and_its_page_says_so(connection, signed_in, auditor):
    made = make_message(connection)
    with pytest.raises(NothingSealed), transaction.atomic():
        proof_of(made)
    answer = signed_in(auditor).post(f"/audit/trace/{made.public_id}/proof.json")
    assert answer.status_code == 409
    assert "No entry of this message is sealed yet" in answer.content.decode()


def test_taking_a_proof_takes_a_press_is_noted_and_hands_out_files(message, signed_in, auditor):
    client, path = signed_in(auditor), f"/audit/trace/{message.public_id}/proof"
    assert client.get(f"{path}.json").status_code == 405
    for form, kind in (("json", "application/json"), ("html", "text/html")):
        answer = client.post(f"{path}.{form}")
        assert answer["Content-Type"].startswith(kind)
        assert answer["Content-Disposition"].startswith("attachment;")
        noted = Entry.objects.of_message(message.public_id).of_action("ledger.proof_taken").newest_first()[0]
        assert (noted.actor_id, noted.detail.fields["format"]) == (str(auditor.pk), form)
        if form == "json":
            assert findings(answer.content.decode()) == []
    answer = client.post(f"{path}.json", {"details": "no"})
    assert salts(answer.json()["entries"]) == {None}


@pytest.mark.slow
def test_proof_of_fifteen_entries_among_a_hundred_thousand_is_small(connection):
    made = make_message(connection)
    record_comments(made, 15, subject="An invoice that is due", recipients="dana@northwind.example")
    seal_here(between=6_600, message=made.public_id)
    proof = proof_of(made)
    assert len(proof.data["entries"]) >= 15
    assert proof.seal.size > 99_000
    assert findings(proof.as_text()) == []
    packed = proof.as_text()
    assert len(packed) < 30_000, len(packed)
    block = "".join(packed.split("PROOF-----")[1].split("-----END")[0].split())
    assert json.loads(zlib.decompress(base64.b64decode(block))) == proof.data
