"""The page of how the ledger stands, and comparing it with a head that somebody kept."""

import json
import subprocess
import sys

import pytest
from django.db import connection
from django.template.loader import render_to_string

from audit.models import Check, Entry, Seal
from audit.proving import standing
from audit.sealing import signing
from audit.sealing.anchors import note_anchor, write_anchors
from audit.sealing.heads import head_json, head_line, signed_bytes
from audit.sealing.sealer import latest_seal, seal_all
from tests.ledger import append, as_superuser, new_key

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sealed(settings, tmp_path):
    """Five seals, each over seven entries more."""
    settings.SEAL_FILE = tmp_path / "seals.jsonl"
    for _ in range(5):
        append(7)
        seal_all()
    write_anchors()
    return list(Seal.objects.order_by("number"))


def kept(seal):
    return json.dumps(head_json(seal))


def compare(client, text, **more):
    return client.post("/audit/verify/compare/", {"head": text, **more})


def words(answer):
    return answer.content.decode().replace("&#x27;", "'")


def asked():
    entry = Entry.objects.of_action("ledger.consistency_asked").select_related("detail").get()
    return entry.detail.fields


def test_page_says_how_far_it_is_sealed_with_key_root_and_places(signed_in, reviewer, sealed):
    last = sealed[-1]
    note_anchor(sealed[2], "discord", "#proofs", "1190")
    page = words(signed_in(reviewer).get("/audit/verify/"))
    for told in (
        last.root,
        signing.key_fingerprint(bytes.fromhex(last.key)),
        "is sealed.",
        "A file on the desk's host",
        "#proofs",
        "Seal 3,",
        "Nobody has looked through all of it yet",
        "An auditor or an admin of everything can have it checked now.",
    ):
        assert told in page
    assert "Check now" not in page
    assert "seals.jsonl" not in page.replace("a line of a seals", "")


def test_page_of_a_desk_without_a_key_says_what_that_means(signed_in, reviewer, settings):
    settings.SEAL_KEYS = []
    page = words(signed_in(reviewer).get("/audit/verify/"))
    assert "The ledger is not sealed." in page
    assert "the database's rights alone" in page


def test_page_says_why_sealing_stopped(signed_in, reviewer, sealed):
    as_superuser("UPDATE audit_seal SET root = %s WHERE number = 5", ["0" * 64])
    append()
    seal_all()
    page = words(signed_in(reviewer).get("/audit/verify/"))
    assert "Nothing is sealed any more." in page
    assert "The signature of seal 5 does not fit what the seal says." in page


def test_page_tells_what_a_check_found_wrong_and_every_audit_page_may_say_so(signed_in, reviewer, sealed):
    Check.objects.create(state="broken", findings=["Entry 3 is not what was sealed."], up_to=5, entries=35, seals=5)
    Check.objects.update(ended_at=sealed[-1].at)
    page = words(signed_in(reviewer).get("/audit/verify/"))
    assert "The ledger does not hold." in page
    assert "Entry 3 is not what was sealed." in page
    assert "The ledger does not hold" in render_to_string("audit/_seal_line.html")


def test_line_says_how_far_it_is_sealed_and_when_it_was_checked(sealed):
    assert "not checked yet" in render_to_string("audit/_seal_line.html")
    Check.objects.create(state="holds", up_to=5)
    Check.objects.update(ended_at=sealed[-1].at)
    line = render_to_string("audit/_seal_line.html")
    assert "Sealed up to" in line
    assert "checked <time" in line


def test_fragment_is_asked_for_again_only_while_a_check_runs(signed_in, reviewer, sealed):
    client = signed_in(reviewer)
    running = Check.objects.create(up_to=5, entries=12)
    part = words(client.get("/audit/verify/", headers={"HX-Request": "true"}))
    assert "<html" not in part
    assert 'hx-trigger="every 2s"' in part
    assert '<progress class="how-far" value="12" max="3' in part
    Check.objects.filter(pk=running.pk).update(state="holds", ended_at=sealed[-1].at)
    assert "hx-trigger" not in words(client.get("/audit/verify/", headers={"HX-Request": "true"}))


def test_seals_are_listed_page_by_page(signed_in, reviewer, sealed, monkeypatch):
    monkeypatch.setattr(standing, "SEALS", 3)
    client = signed_in(reviewer)
    first = words(client.get("/audit/verify/"))
    assert [f'id="seal-{number}"' in first for number in (5, 4, 3, 2)] == [True, True, True, False]
    assert "7 new" in first
    assert "?before=3#" in first
    second = words(client.get("/audit/verify/?before=3"))
    assert [f'id="seal-{number}"' in second for number in (3, 2, 1)] == [False, True, True]
    assert 'rel="next"' not in second
    assert client.get("/audit/verify/?before=all").status_code == 200


def test_page_asks_a_bounded_number_of_questions(signed_in, reviewer, sealed, django_assert_max_num_queries):
    client = signed_in(reviewer)
    client.get("/audit/verify/")
    with django_assert_max_num_queries(22):
        client.get("/audit/verify/")


@pytest.mark.parametrize("number", [1, 3, 5])
def test_kept_head_is_found_with_everything_under_it(signed_in, reviewer, sealed, number):
    text = head_line(sealed[number - 1]).decode() if number == 3 else kept(sealed[number - 1])
    page = words(compare(signed_in(reviewer), text))
    assert "Everything under this head is still there." in page
    assert f"Seal {number} is in the database as it was kept." in page
    assert "none went that far yet" in page
    assert (asked()["seal"], asked()["result"]) == (str(number), "same")


def test_post_of_a_channel_is_compared_by_its_numbers(signed_in, reviewer, sealed):
    seal = sealed[1]
    text = f"Ledger: seal {seal.number}\n{seal.size} entries\nroot {seal.root}\nkey AAAA-BBBB-CCCC"
    page = words(compare(signed_in(reviewer), text))
    assert "A post holds no signature" in page
    assert "Everything under this head is still there." in page
    other = words(compare(signed_in(reviewer), text.replace(seal.root, "0" * 64)))
    assert "The database has another seal 2: root is not the same." in other


def test_check_that_went_far_enough_is_told(signed_in, reviewer, sealed):
    Check.objects.create(state="holds", up_to=4)
    Check.objects.update(ended_at=sealed[-1].at)
    client = signed_in(reviewer)
    assert "found that each entry is still the one" in words(compare(client, kept(sealed[3])))
    assert "none went that far yet" in words(compare(client, kept(sealed[4])))


def test_cut_tail_is_named(signed_in, reviewer, sealed):
    as_superuser("DELETE FROM audit_seal WHERE number = 5")
    as_superuser("DELETE FROM audit_leaf WHERE seal = 5")
    page = words(compare(signed_in(reviewer), kept(sealed[4])))
    assert "This ledger is not the one of this head." in page
    assert "It is seal 5, and the database ends at seal 4" in page
    assert asked()["result"] == "differs"


def test_history_that_was_written_anew_is_named(signed_in, reviewer, sealed, settings, tmp_path):
    """Whoever has the key can seal another history; a head that was kept shows it."""
    settings.SEAL_FILE = tmp_path / "another.jsonl"
    for table in ("seal", "leaf", "block", "anchor"):
        as_superuser(f"DELETE FROM audit_{table}")
    as_superuser("DELETE FROM audit_entrydetail WHERE entry_id = (SELECT min(id) FROM audit_entry)")
    as_superuser("DELETE FROM audit_entry WHERE id = (SELECT min(id) FROM audit_entry)")
    seal_all()
    page = words(compare(signed_in(reviewer), kept(sealed[0])))
    assert "The database has another seal 1:" in page


def test_leaf_that_was_changed_under_old_seals_is_named(signed_in, reviewer, sealed):
    as_superuser("UPDATE audit_leaf SET hash = decode(repeat('00', 32), 'hex') WHERE position = 2")
    for number in (0, 4):
        page = words(compare(signed_in(reviewer), kept(sealed[number])))
        assert "are not those with which the tree of seal 5 begins" in page


def test_head_of_another_desk_and_one_that_was_altered_are_told_apart(signed_in, reviewer, sealed, settings):
    client = signed_in(reviewer)
    altered = {**head_json(sealed[2]), "size": 20}
    assert "Its signature does not fit what it says" in words(compare(client, json.dumps(altered)))
    assert asked()["result"] == "unsigned"
    settings.SEAL_KEYS = [new_key()]
    foreign = Seal.objects.get(number=3)
    foreign.key = signing.public_key().hex()
    foreign.signature = signing.sign(signed_bytes(foreign)).hex()
    assert "which signed no seal here" in words(compare(client, kept(foreign)))


@pytest.mark.parametrize(
    "text",
    ["", "hello", "[]", "{}", '{"v": 1}', "[" * 3000, "\x00", '{"v": 1, "number": 1e400}', "x" * 20_001],
)  # fmt: skip
def test_what_is_no_head_is_refused_in_words(signed_in, reviewer, sealed, text):
    answer = compare(signed_in(reviewer), text)
    assert answer.status_code == 422
    assert 'id="head-problem"' in words(answer)
    assert not Entry.objects.of_action("ledger.consistency_asked").exists()


def test_head_in_another_form_is_refused(signed_in, reviewer, sealed):
    for change in ({"size": "7"}, {"number": True}, {"at": "yesterday"}, {"root": "ab"}, {"horizon": "x"}, {"more": 1}):
        answer = compare(signed_in(reviewer), json.dumps({**head_json(sealed[0]), **change}))
        assert answer.status_code == 422, change


def test_proof_of_consistency_holds_for_the_verifier_on_another_machine(signed_in, reviewer, sealed, tmp_path):
    client = signed_in(reviewer)
    answer = compare(client, kept(sealed[1]), wanted="file")
    assert answer["Content-Disposition"] == 'attachment; filename="countersign-consistency-2-5.json"'
    proof, verifier = tmp_path / "proof.json", tmp_path / "countersign_verify.py"
    proof.write_bytes(answer.content)
    verifier.write_bytes(client.get("/audit/verify/countersign_verify.py").content)
    command = [sys.executable, "-I", str(verifier), str(proof)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lie = json.loads(answer.content)
    lie["path"][0] = "0" * 64
    proof.write_text(json.dumps(lie))
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 1


def test_where_nothing_is_sealed_there_is_no_head(signed_in, reviewer):
    answer = signed_in(reviewer).get("/audit/verify/head.json")
    assert answer.status_code == 409
    assert "Nothing is sealed yet" in words(answer)


def test_newest_head_is_handed_out(signed_in, reviewer, sealed):
    answer = signed_in(reviewer).get("/audit/verify/head.json")
    assert answer.json() == head_json(sealed[-1])
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM audit_entry")
        assert cursor.fetchone()[0] >= latest_seal().size
