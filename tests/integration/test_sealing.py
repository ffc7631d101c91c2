"""Sealing: which entries are sealed and when, what stops it, key changes, concurrent writers,
heads outside the database, and ledgers that go on after a restore.
"""

import json
import os
import re
import threading
from datetime import timedelta
from functools import partial

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import transaction

from audit.models import Anchor, Entry, Seal
from audit.recording import record
from audit.sealing import sealer, signing, status
from audit.sealing.anchors import unknown_heads, write_anchors
from audit.sealing.sealer import seal_all
from audit.sealing.signing import SealingRefused, check_end, latest_seal
from audit.sealing.status import sealing_state
from audit.tasks import seal
from audit.verification.checks import check_database
from common.postgres import clock
from dashboard.health import checks
from dashboard.tasks import probe
from tests.integration.deciding import in_thread
from tests.ledger import (
    ACTOR,
    another_session,
    append,
    as_superuser,
    check_chain,
    latest_details,
    new_key,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_nothing_is_sealed_without_a_key_or_while_another_seals(settings):
    append()
    with another_session() as session:
        session.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [sealer.LOCK]
        )
        assert seal_all() == 0
    assert seal_all() == 1
    append()
    settings.SEAL_KEYS = []
    assert seal_all() == 0
    now = sealing_state(clock())
    assert (now.is_on, now.is_stopped) == (False, False)


def test_key_that_is_none_is_named_without_being_repeated(settings):
    for text in ("c2hvcnQ=", "no base64 at all!"):
        settings.SEAL_KEYS = [new_key(), text]
        with pytest.raises(
            ImproperlyConfigured, match="SEAL_KEY must hold keys of 32"
        ) as raised:
            signing.public_keys()
        assert text.strip("=") not in str(raised.value)


def test_another_key_is_named_by_the_one_that_leaves_and_seals_nothing_without_it(
    settings,
):
    old, new = new_key(), new_key()
    settings.SEAL_KEYS = [old]
    append(2)
    seal_all()
    settings.SEAL_KEYS = [new]
    append(3)
    assert seal_all() == 0
    assert "Put it back into SEAL_KEY" in sealing_state(clock()).why

    settings.SEAL_KEYS = [new, old]
    # The entry about the key itself follows at the next beat.
    assert [seal_all() for _ in range(3)] == [3, 1, 0]
    assert [(seal.kind, seal.size) for seal in check_chain()] == [
        ("seal", 2),
        ("key", 2),
        ("seal", 5),
        ("seal", 6),
    ]
    settings.SEAL_KEYS = [new]
    append()
    assert seal_all() == 1
    assert check_chain()[-1].key == signing.public_key()
    details = latest_details("ledger.key_changed")
    names = [check_chain()[at].key_fingerprint for at in (0, -1)]
    assert [details["before"], details["after"]] == names


BREAKS = [
    (
        "UPDATE audit_seal SET entries = repeat('0', 64) WHERE number = 2",
        "Seal 2 is not signed by its key",
    ),
    (
        "UPDATE audit_seal SET note = 'x' WHERE number = 1",
        "Seal 2 does not follow the seal 1 that is here",
    ),
    ("DELETE FROM audit_seal WHERE number = 2", "but more are listed as sealed"),
    (
        "UPDATE audit_sealedentry SET hash = sha256('x') WHERE position = 3",
        "not the ones that seal 2 was made over",
    ),
    ("DELETE FROM audit_sealedentry", "but fewer are listed as sealed"),
    (
        "UPDATE audit_entry SET actor_id = 'x' WHERE id = (SELECT max(id) FROM audit_entry)",
        "as it was written",
    ),
]


def test_nothing_is_sealed_over_a_broken_base_and_it_is_reported_once():
    append(2)
    seal_all()
    append(4)
    seal_all()
    append(2)
    wrong = {}
    for sql, named in BREAKS:
        with transaction.atomic():
            as_superuser(sql)
            sealed = (seal_all(), seal_all())
            reasons = [
                entry.detail.fields["reason"]
                for entry in Entry.objects.of_action("ledger.broken")
            ]
            if (
                sealed != (0, 0)
                or len(reasons) != 1
                or named not in reasons[0]
                or sealing_state(clock()).why != reasons[0]
            ):
                wrong[sql] = (sealed, reasons)
            transaction.set_rollback(True)
    assert wrong == {}

    assert seal_all() == 2
    check_chain()


def test_seal_that_is_signed_but_does_not_belong_there_is_refused(settings):
    """As a thief of a key could write one."""
    settings.SEAL_KEYS = [new_key(), new_key()]
    for _ in range(2):
        append()
        seal_all()
    for fields, named in (
        ({"previous": "0" * 64}, "Seal 2 does not follow the seal 1"),
        ({"key": signing.public_keys()[1]}, "which no seal before it names"),
    ):
        seal = latest_seal()
        for name, text in fields.items():
            setattr(seal, name, text)
        forged = [seal.previous, seal.key, signing.sign(seal)]
        with transaction.atomic():
            as_superuser(
                "UPDATE audit_seal SET previous = %s, key = %s, signature = %s WHERE number = 2",
                forged,
            )
            with pytest.raises(SealingRefused, match=named):
                check_end(latest_seal())
            transaction.set_rollback(True)


def test_state_shows_the_progress_the_delay_and_its_cause():
    append(3)
    now = sealing_state(clock())
    assert (now.last, now.unsealed, now.is_late) == (None, 3, False)
    seal_all()
    now = sealing_state(clock())
    assert (now.last, now.unsealed, now.why) == (latest_seal(), 0, "")
    append(2)
    since = sealing_state(clock()).waits_since
    assert not sealing_state(since + timedelta(seconds=60)).is_late
    now = sealing_state(since + timedelta(seconds=61))
    assert (now.unsealed, now.is_late) == (2, True)
    assert "sealing worker" in now.advice


def test_twenty_threads_append_while_sealing_runs_and_none_is_lost():
    """Two concurrent sealers, and overlapping transactions of several entries, some of
    which roll back.
    """
    done = threading.Event()

    def write(number):
        for turn in range(8):
            with transaction.atomic():
                record(
                    "message.opened",
                    actor=ACTOR,
                    details={"reason": f"writer {number}"},
                )
                with transaction.atomic():
                    record("message.opened", actor=ACTOR)
                if turn % 4 == 3:
                    transaction.set_rollback(True)

    def seal():
        while not done.is_set():
            seal_all()

    sealers = [in_thread(seal) for _ in range(2)]
    writers = [in_thread(partial(write, number)) for number in range(20)]
    for thread, _ in writers:
        thread.join()
    done.set()
    for thread, _ in sealers:
        thread.join()
    assert [results for _, results in (*writers, *sealers)] == [[None]] * 22
    seal_all()
    seals = check_chain()
    assert len(seals) > 1
    assert Entry.objects.count() == seals[-1].size == 20 * 6 * 2


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
    os.utime(file, (0, 0))
    assert "Seal 3 has no anchor" in str(check_database().findings)
    assert write_anchors() == 1
    assert _heads(file) == [one.as_json() for one in check_chain()]
    anchors = Anchor.objects.order_by("seal").values_list("seal", "kind", "place")
    assert list(anchors) == [(number, "file", str(file)) for number in (1, 2, 3)]


@pytest.mark.slow
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


def test_line_that_is_gone_from_the_file_is_named_at_once(file):
    _seal_in_turns(3)
    lines = file.read_text().splitlines(keepends=True)

    def named():
        probe()
        return [one.number for one in checks._noted() if one.kind == "seals_file"]

    def gone(left):
        file.write_text("".join(left))
        return named()

    # Older lines may have been archived.
    assert gone(lines) == gone(lines[1:]) == []
    assert gone(lines[:1] + lines[2:]) == [1]
    assert gone(lines[:1]) == [2]
    assert gone([]) == [3]
    assert gone(lines) == []
    file.unlink()
    assert named() == [3]
    # A file that cannot be read stops sealing, which says so.
    file.mkdir()
    assert named() == []


def _play_back(seals):
    """Remove the newest seals and their entries, as restoring a backup would."""
    as_superuser("DELETE FROM audit_anchor WHERE seal > %s", [seals])
    for table, key in (("audit_entrydetail", "entry_id"), ("audit_entry", "id")):
        as_superuser(
            f"DELETE FROM {table} WHERE {key} IN (SELECT entry FROM audit_sealedentry WHERE seal > %s)",
            [seals],
        )
    as_superuser("DELETE FROM audit_sealedentry WHERE seal > %s", [seals])
    as_superuser("DELETE FROM audit_seal WHERE number > %s", [seals])


def test_older_database_is_not_sealed_before_somebody_gives_a_reason(file, settings):
    _seal_in_turns(5)
    _play_back(3)
    append(2)
    assert (seal(), seal()) == ("0 sealed, 0 anchored",) * 2
    assert Entry.objects.of_action("ledger.broken").count() == 1
    found = sealing_state(clock())
    assert found.is_stopped
    assert "knows seal 5" in found.why

    call_command("audit_restored", because="the backup of Monday was played back")
    append()
    # The entry about the restore, and the one after it.
    assert seal() == "2 sealed, 1 anchored"
    restored, after = check_chain()[3:]
    assert (restored.kind, restored.epoch) == ("restored", 2)
    assert (after.kind, after.epoch) == ("seal", 2)
    assert [head["number"] for head in _heads(file)] == [1, 2, 3, 4, 5, 4, 5]
    assert latest_details("ledger.restored")["reason"] == restored.note != ""
    # It explains which seals were lost, and not that an earlier one is another.
    other = Seal.objects.get(number=2)
    other.note = "x"
    other.signature = signing.sign(other)
    whole = file.read_bytes()
    file.write_bytes(whole + other.as_line())
    assert [one.number for one in unknown_heads()] == [2]
    (found,) = check_database().findings
    assert "is not the seal 2 that is here" in found
    file.write_bytes(whole)
    # It explains that restore, and not the next one.
    append()
    seal()
    _play_back(5)
    append()
    assert seal() == "0 sealed, 0 anchored"
    assert "knows seal 6" in sealing_state(clock()).why


def _move_elsewhere(monkeypatch):
    """As after a logical restore: the last seal was made in another cluster, whose
    transactions had higher ids.
    """
    for module in (sealer, status):
        monkeypatch.setattr(module, "cluster_id", lambda: "7000000000000000001")


ALTERED = [
    (
        "UPDATE audit_sealedentry SET position = 9 WHERE position = 1;"
        "UPDATE audit_sealedentry SET position = 1 WHERE position = 2;"
        "UPDATE audit_sealedentry SET position = 2 WHERE position = 9",
        "The entries under seal 1 are not the ones that it was made over.",
    ),
    (
        "UPDATE audit_entry SET trace = 'x' WHERE id = (SELECT min(id) FROM audit_entry)",
        r"Entry \d+ is not the one that was sealed.",
    ),
]


def test_altered_or_long_backup_is_not_adopted_automatically(monkeypatch):
    append(4)
    for _ in range(2):
        seal_all()
        append()
    seal_all()
    _move_elsewhere(monkeypatch)
    wrong = {}
    for sql, named in ALTERED:
        with transaction.atomic():
            as_superuser(sql)
            sealed = seal_all()
            why = sealing_state(clock()).why
            is_named = re.fullmatch(named, why)
            if (sealed, Seal.objects.count()) != (0, 3) or not is_named:
                wrong[sql] = (sealed, why)
            transaction.set_rollback(True)
    assert wrong == {}
    monkeypatch.setattr(sealer, "LONGEST_IN_TASK", 5)
    assert seal_all() == 0
    assert "takes longer than a task may run" in sealing_state(clock()).why
    monkeypatch.setattr(sealer, "LONGEST_IN_TASK", 0)
    call_command("audit_restored", because="moved to another server")
    assert check_chain()[-1].kind == "restored"


@pytest.mark.slow
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


@pytest.mark.slow
def test_transaction_of_many_entries_spans_three_seals(monkeypatch):
    monkeypatch.setattr(sealer, "AT_MOST", 10)
    append()
    with transaction.atomic():
        append(25)
    append()
    assert seal_all() == 27
    seals = check_chain()
    assert [seal.count for seal in seals] == [10, 10, 7]
    assert seals[0].end_xid == seals[1].end_xid < seals[2].end_xid


@pytest.mark.slow
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


@pytest.mark.slow
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
