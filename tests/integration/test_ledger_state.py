"""The ledger status page, and comparing the ledger with a saved checkpoint."""

import json
import subprocess
import sys

import pytest
from django.db import transaction
from django.template.loader import render_to_string

from audit.models import Check, Entry, Seal
from audit.sealing import signing
from audit.sealing.anchors import add_anchor, write_anchors
from audit.sealing.sealer import seal_all
from audit.sealing.signing import head_json, head_line, signed_bytes
from audit.verification import status
from audit.verification.comparison import NoHead, compare_with, read_head
from tests.ledger import append, as_superuser, new_key, seal_here
from tests.markup import compact

pytestmark = pytest.mark.django_db

# The page shows the newest seal, and the sealer cannot seal uncommitted entries.
committed = pytest.mark.django_db(transaction=True)
PATH = "/audit/verify/"


def seal_five_times(seal):
    """Five seals, each with seven more entries."""
    for _ in range(5):
        append(7)
        seal()
    write_anchors()
    return list(Seal.objects.order_by("number"))


@pytest.fixture
def sealed(db):
    return seal_five_times(seal_here)


def saved(seal):
    return json.dumps(head_json(seal))


def compared(person, text):
    """The text of the comparison, and its verdict."""
    found = compare_with(read_head(text), actor=person.actor(surface="web"))
    return " ".join(sentence for _, sentence in found.steps), found.outcome


def words(answer):
    return answer.content.decode().replace("&#x27;", "'")


def test_page_explains_missing_seals_and_a_missing_key(signed_in, reviewer, settings):
    client = signed_in(reviewer)
    answer = client.get(f"{PATH}head.json")
    assert (answer.status_code, "Nothing is sealed yet" in words(answer)) == (409, True)
    settings.SEAL_KEYS = []
    page = words(client.get(PATH))
    assert "The ledger is not sealed." in page
    assert "database permissions" in page


@committed
def test_page_shows_the_newest_seal_with_key_root_and_anchors(
    signed_in, reviewer, monkeypatch, django_assert_max_num_queries
):
    seals = seal_five_times(seal_all)
    add_anchor(seals[2], "discord", "#proofs", "1190")
    monkeypatch.setattr(status, "SEALS", 3)
    client = signed_in(reviewer)
    with django_assert_max_num_queries(24):
        page = words(client.get(PATH))
    for expected in (
        seals[-1].root,
        signing.key_fingerprint(bytes.fromhex(seals[-1].key)),
        "is sealed.",
        "A file on the desk's host",
        "#proofs",
        "Seal 3,",
        "It has not been checked in full yet",
        "An auditor or an admin of everything can start a check.",
        "7 new",
        "?before=3#",
    ):
        assert expected in page, expected
    assert "Check now" not in page
    assert "seals.jsonl" not in page.replace("a line of a seals", "")
    assert [f'id="seal-{number}"' in page for number in (5, 4, 3, 2)] == [True, True, True, False]
    second = words(client.get(f"{PATH}?before=3"))
    assert [f'id="seal-{number}"' in second for number in (3, 2, 1)] == [False, True, True]
    assert 'rel="next"' not in second
    assert client.get(f"{PATH}?before=all").status_code == 200


@committed
def test_page_says_why_sealing_stopped(signed_in, reviewer):
    append()
    seal_all()
    as_superuser("UPDATE audit_seal SET root = %s", ["0" * 64])
    append()
    seal_all()
    page = words(signed_in(reviewer).get(PATH))
    assert "Sealing has stopped." in page
    assert "The signature of seal 1 does not fit what the seal says." in page


def test_status_page_and_audit_pages_follow_a_check(signed_in, reviewer, sealed):
    client = signed_in(reviewer)
    assert "not checked yet" in compact(render_to_string("audit/_seal_line.html"))
    Check.objects.create(up_to=5, entries=12)
    part = words(client.get(PATH, headers={"HX-Request": "true"}))
    assert "<html" not in part
    assert 'hx-trigger="every 2s"' in part
    assert '<progress class="how-far" value="12" max="' in part
    Check.objects.update(state="holds", ended_at=sealed[-1].at)
    line = compact(render_to_string("audit/_seal_line.html"))
    assert "Sealed up to" in line
    assert "checked <time" in line
    Check.objects.update(state="broken", findings=["Entry 3 is not what was sealed."])
    page = words(client.get(PATH))
    assert "hx-trigger" not in page.partition('id="ledger-state"')[2].partition("</section>")[0]
    assert "The ledger failed verification." in page
    assert "Entry 3 is not what was sealed." in page
    assert "The ledger failed verification" in compact(render_to_string("audit/_seal_line.html"))


def test_saved_checkpoint_verifies_with_all_earlier_entries(signed_in, reviewer, sealed):
    for number in (1, 3, 5):
        text = head_line(sealed[number - 1]).decode() if number == 3 else saved(sealed[number - 1])
        page_text, verdict = compared(reviewer, text)
        assert verdict == "same"
        assert f"Seal {number} in the database is the same." in page_text
    # A post in a channel is compared by its numbers.
    post = f"Ledger: seal 2\n{sealed[1].size} entries\nroot {sealed[1].root}\nkey AAAA-BBBB-CCCC"
    page_text, verdict = compared(reviewer, post)
    assert ("A post has no signature" in page_text, verdict) == (True, "same")
    page_text, verdict = compared(reviewer, post.replace(sealed[1].root, "0" * 64))
    assert "Seal 2 in the database differs: root is not the same." in page_text
    assert verdict == "differs"
    page = words(signed_in(reviewer).post(f"{PATH}compare/", {"head": saved(sealed[4])}))
    assert "Everything under this checkpoint is still there." in page
    assert "none has covered this checkpoint yet" in page
    Check.objects.create(state="holds", up_to=4)
    Check.objects.update(ended_at=sealed[-1].at)
    checks = [compare_with(read_head(saved(seal)), actor=reviewer.actor(surface="web")).check for seal in sealed[3:]]
    assert checks == [Check.objects.get(), None]
    noted = Entry.objects.of_action("ledger.consistency_asked").select_related("detail").newest_first()
    results = [("5", "same"), ("4", "same"), ("5", "same"), ("2", "differs"), ("2", "same")]
    results += [(number, "same") for number in "531"]
    assert [(one.detail.fields["seal"], one.detail.fields["result"]) for one in noted] == results


def test_ledger_that_differs_from_the_checkpoint_is_reported(reviewer, sealed):
    def cut_the_end():
        as_superuser("DELETE FROM audit_seal WHERE number = 5")
        as_superuser("DELETE FROM audit_leaf WHERE seal = 5")

    def change_a_leaf():
        as_superuser("UPDATE audit_leaf SET hash = decode(repeat('00', 32), 'hex') WHERE position = 2")

    def seal_again_without_an_entry():
        # Whoever has the key can seal another history; a saved checkpoint reveals it.
        for table in ("seal", "leaf", "block", "anchor"):
            as_superuser(f"DELETE FROM audit_{table}")
        as_superuser("DELETE FROM audit_entrydetail WHERE entry_id = (SELECT min(id) FROM audit_entry)")
        as_superuser("DELETE FROM audit_entry WHERE id = (SELECT min(id) FROM audit_entry)")
        seal_here()

    for alter, number, words in (
        (cut_the_end, 5, "It is seal 5, and the database ends at seal 4"),
        (change_a_leaf, 1, "are not the first of those under seal 5"),
        (change_a_leaf, 5, "are not the first of those under seal 5"),
        (seal_again_without_an_entry, 1, "Seal 1 in the database differs:"),
    ):
        with transaction.atomic():
            alter()
            page_text, verdict = compared(reviewer, saved(sealed[number - 1]))
            assert (words in page_text, verdict) == (True, "differs"), page_text
            transaction.set_rollback(True)


def test_checkpoint_of_another_desk_and_an_altered_one_are_distinguished(signed_in, reviewer, sealed, settings):
    altered = {**head_json(sealed[2]), "size": 20}
    page_text, verdict = compared(reviewer, json.dumps(altered))
    assert "Its signature does not match" in page_text
    assert verdict == "unsigned"
    settings.SEAL_KEYS = [new_key()]
    foreign = Seal.objects.get(number=3)
    foreign.key = signing.public_key().hex()
    foreign.signature = signing.sign(signed_bytes(foreign), key=signing.public_key()).hex()
    page_text, verdict = compared(reviewer, saved(foreign))
    assert "which signed no seal here" in page_text
    assert verdict == "differs"
    page = words(signed_in(reviewer).post(f"{PATH}compare/", {"head": saved(foreign)}))
    assert "This is not the ledger of this checkpoint." in page


def test_invalid_checkpoint_is_refused_with_a_sentence(signed_in, reviewer):
    append()
    seal_here()
    head = head_json(Seal.objects.get())
    texts = ["", "hello", "[]", "{}", '{"v": 1}', "[" * 3000, "\x00", '{"v": 1, "number": 1e400}']
    changes = ({"size": "7"}, {"number": True}, {"at": "yesterday"}, {"root": "ab"}, {"horizon": "x"}, {"more": 1})
    for text in (*texts, *(json.dumps({**head, **change}) for change in changes)):
        with pytest.raises(NoHead, match=r"This (?:is not a )?checkpoint"):
            read_head(text)
    client = signed_in(reviewer)
    for text in ("hello", "x" * 20_001):
        answer = client.post(f"{PATH}compare/", {"head": text})
        assert (answer.status_code, 'id="head-problem"' in words(answer)) == (422, True)
    assert not Entry.objects.of_action("ledger.consistency_asked").exists()


def test_downloaded_checkpoint_proof_and_verifier_work_on_another_machine(signed_in, reviewer, sealed, tmp_path):
    client = signed_in(reviewer)
    assert client.get(f"{PATH}head.json").json() == head_json(sealed[-1])
    answer = client.post(f"{PATH}compare/", {"head": saved(sealed[1]), "wanted": "file"})
    assert answer["Content-Disposition"] == 'attachment; filename="countersign-consistency-2-5.json"'
    proof, verifier = tmp_path / "proof.json", tmp_path / "countersign_verify.py"
    proof.write_bytes(answer.content)
    verifier.write_bytes(client.get(f"{PATH}countersign_verify.py").content)
    command = [sys.executable, "-I", str(verifier), str(proof)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lie = json.loads(answer.content)
    lie["path"][0] = "0" * 64
    proof.write_text(json.dumps(lie))
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1
