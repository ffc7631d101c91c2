"""Heads outside the database, a database that is older than they are, and ledgers that
go on after a restore.
"""

import json

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from audit.models import Anchor, Entry, Seal
from audit.sealing import sealer, signing, status
from audit.sealing.anchors import write_anchors
from audit.sealing.sealer import seal_all
from audit.sealing.signing import latest_seal
from audit.sealing.status import sealing_state
from audit.tasks import seal
from common.postgres import clock
from tests.ledger import (
    another_session,
    append,
    as_superuser,
    check_chain,
    latest_details,
    new_key,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def file(settings, tmp_path):
    settings.SEAL_FILE = tmp_path / "elsewhere" / "seals.jsonl"
    return settings.SEAL_FILE


def _seal_in_turns(turns=3):
    for _ in range(turns):
        append()
        seal()


def _heads(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_each_head_is_written_once_for_its_owner_alone_whatever_a_crash_left(file):
    _seal_in_turns(2)
    assert seal() == "0 sealed, 0 anchored"
    assert _heads(file) == [one.as_json() for one in check_chain()]
    assert file.stat().st_mode & 0o777 == 0o600
    append()
    seal_all()
    # As after a crash: the third line half written; then complete, but not noted.
    file.write_bytes(file.read_bytes() + b'{"number": 3, "at": "20')
    assert write_anchors() == 1
    as_superuser("DELETE FROM audit_anchor WHERE seal = 3")
    assert write_anchors() == 1
    assert _heads(file) == [one.as_json() for one in check_chain()]
    anchors = Anchor.objects.order_by("seal").values_list("seal", "kind", "place")
    assert list(anchors) == [(number, "file", str(file)) for number in (1, 2, 3)]


def test_file_that_cannot_be_written_is_reported_once_and_costs_no_seal(
    settings, tmp_path
):
    settings.SEAL_FILE = tmp_path
    _seal_in_turns(3)
    assert Entry.objects.of_action("ledger.anchor_failed").count() == 1
    assert len(check_chain()) == 3
    found = sealing_state(latest_seal().at.replace(year=2100))
    assert "Seal 1 and those after it are not in the seals' file" in found.why
    settings.SEAL_FILE = tmp_path / "seals.jsonl"
    _seal_in_turns(1)
    assert [head["number"] for head in _heads(settings.SEAL_FILE)] == [1, 2, 3, 4]
    settings.SEAL_FILE = tmp_path
    _seal_in_turns(1)
    assert Entry.objects.of_action("ledger.anchor_failed").count() == 2


def _play_back(seals):
    """Remove the newest seals and their entries, as restoring a backup would."""
    as_superuser("DELETE FROM audit_anchor WHERE seal > %s", [seals])
    as_superuser(
        "DELETE FROM audit_entry WHERE id IN (SELECT entry FROM audit_sealedentry WHERE seal > %s)",
        [seals],
    )
    as_superuser("DELETE FROM audit_sealedentry WHERE seal > %s", [seals])
    as_superuser("DELETE FROM audit_seal WHERE number > %s", [seals])


def test_older_database_is_not_sealed_before_somebody_gives_a_reason(file, settings):
    _seal_in_turns(5)
    _play_back(3)
    append(2)
    assert (seal(), seal()) == ("0 sealed, 0 anchored",) * 2
    assert Seal.objects.count() == 3
    assert Entry.objects.of_action("ledger.broken").count() == 1
    found = sealing_state(clock())
    assert found.is_stopped
    assert "knows seal 5" in found.why
    assert "database ends at seal 3" in found.why

    call_command("audit_restored", because="the backup of Monday was played back")
    append()
    # The entry about the restore, and the one after it.
    assert seal() == "2 sealed, 1 anchored"
    restored, after = check_chain()[3:]
    assert (restored.kind, restored.epoch) == ("restored", 2)
    assert restored.note == "the backup of Monday was played back"
    assert (after.kind, after.epoch) == ("seal", 2)
    assert [head["number"] for head in _heads(file)] == [1, 2, 3, 4, 5, 4, 5]
    assert not sealing_state(clock()).why
    details = latest_details("ledger.restored")
    assert (details["seal"], details["reason"]) == ("4", restored.note)


def test_another_chain_with_the_same_number_or_none_at_all_is_noticed(file, settings):
    _seal_in_turns(2)
    saved = file.read_bytes()
    _play_back(0)
    append()
    assert seal_all() == 0
    assert "the database has none" in sealing_state(clock()).why
    file.unlink()
    _seal_in_turns(3)
    file.write_bytes(saved)
    append()
    assert seal_all() == 0
    assert "the database has another one of that number" in sealing_state(clock()).why


def test_restore_is_not_forgotten_where_the_file_could_not_be_written(file):
    _seal_in_turns(3)
    _play_back(2)
    append()
    seal()
    saved = file.read_bytes()
    file.unlink()
    file.mkdir()
    call_command("audit_restored", because="so it was")
    file.rmdir()
    file.write_bytes(saved)
    append()
    # Together with the entries about the restore and about the file.
    assert seal() == "3 sealed, 2 anchored"
    assert _heads(file)[-1] == latest_seal().as_json()


def _move_elsewhere(monkeypatch):
    """As after a logical restore: the last seal was made in another cluster, whose
    transactions had higher ids.
    """
    for module in (sealer, status):
        monkeypatch.setattr(module, "cluster_id", lambda: "7000000000000000001")


def test_ledger_in_another_cluster_is_adopted_automatically(file, monkeypatch):
    _seal_in_turns(2)
    append(3)
    _move_elsewhere(monkeypatch)
    assert seal_all() == 3
    append(2)
    assert seal_all() == 3
    seals = check_chain()
    # What the backup held beyond its last seal is under the restored one; what came
    # after it, the restore's own entry included, in the next epoch.
    assert [(one.kind, one.epoch, one.size) for one in seals] == [
        ("seal", 1, 1),
        ("seal", 1, 2),
        ("restored", 2, 5),
        ("seal", 2, 8),
    ]
    assert Entry.objects.of_action("ledger.restored").count() == 1


ALTERED = [
    (
        "UPDATE audit_entry SET actor_id = 'x' WHERE id = {entry}",
        "Entry {entry} is not the one that was sealed.",
    ),
    (
        "UPDATE audit_sealedentry SET position = -1 WHERE position = 1;"
        "UPDATE audit_sealedentry SET position = 1 WHERE position = 2;"
        "UPDATE audit_sealedentry SET position = 2 WHERE position = -1",
        "The entries under seal 1 are not the ones that it was made over.",
    ),
    (
        "UPDATE audit_seal SET note = 'x' WHERE number = 1",
        "Seal 2 does not follow the seal before it.",
    ),
]


def test_altered_or_long_backup_is_not_adopted_automatically(monkeypatch):
    made = append(4)
    for _ in range(2):
        seal_all()
        append()
    seal_all()
    _move_elsewhere(monkeypatch)
    wrong = {}
    for sql, named in ALTERED:
        with transaction.atomic():
            as_superuser(sql.format(entry=made[2].pk))
            sealed = seal_all()
            why = sealing_state(clock()).why
            if (sealed, why, Seal.objects.count()) != (
                0,
                named.format(entry=made[2].pk),
                3,
            ):
                wrong[sql] = (sealed, why)
            transaction.set_rollback(True)
    assert wrong == {}
    monkeypatch.setattr(sealer, "LONGEST_IN_TASK", 5)
    assert seal_all() == 0
    assert "takes longer than a task may run" in sealing_state(clock()).why
    monkeypatch.setattr(sealer, "LONGEST_IN_TASK", 0)
    call_command("audit_restored", because="moved to another server")
    assert check_chain()[-1].kind == "restored"


def test_restore_waits_for_whoever_took_a_number_before_it(monkeypatch):
    append(2)
    seal_all()
    monkeypatch.setattr(sealer, "PATIENCE", 0.1)
    with another_session() as session:
        session.execute("SELECT pg_current_xact_id(), nextval('audit_entry_id_seq')")
        append()
        with pytest.raises(CommandError, match="still open"):
            call_command("audit_restored", because="tried")
        session.rollback()
    monkeypatch.undo()
    call_command("audit_restored", because="tried")
    seal_all()
    assert check_chain()[-1].size == Entry.objects.count()


def test_lost_key_is_replaced_by_command_alone(settings):
    append()
    seal_all()
    settings.SEAL_KEYS = [new_key()]
    append()
    assert seal_all() == 0
    with pytest.raises(CommandError, match="does not contain it"):
        call_command("audit_restored", because="we lost it")
    call_command("audit_restored", because="we lost it", new_key=True)
    seal_all()
    seals = check_chain()
    assert [one.kind for one in seals] == ["seal", "restored", "seal"]
    assert seals[1].key == signing.public_key()


def test_command_needs_words_a_seal_and_a_base_that_holds():
    with pytest.raises(CommandError, match="needs a reason"):
        call_command("audit_restored", because=" ")
    with pytest.raises(CommandError, match="has no seals yet"):
        call_command("audit_restored", because="tried")
    append()
    seal_all()
    as_superuser("UPDATE audit_sealedentry SET hash = sha256('x')")
    with pytest.raises(CommandError, match="not the ones that seal 1 was made over"):
        call_command("audit_restored", because="tried")


def test_cluster_that_may_not_be_read_is_no_other_one():
    assert sealer.is_other_cluster(Seal(cluster="1"), "2")
    assert not sealer.is_other_cluster(Seal(cluster="1"), "1")
    assert not sealer.is_other_cluster(Seal(cluster="1"), "")
    assert not sealer.is_other_cluster(Seal(cluster=""), "2")
