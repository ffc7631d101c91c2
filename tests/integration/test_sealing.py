"""Sealing: what is taken and when, what stops it, keys that change, and many writers at once."""

import threading
from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.db.models.signals import post_save

from audit.models import BLOCK, Block, Entry, Leaf, Seal
from audit.recording import record
from audit.sealing import sealer, signing
from audit.sealing.base import read_facts
from audit.sealing.sealer import latest_seal, seal_all, sealing_state
from common.postgres import clock
from tests.ledger import ACTOR, another_session, append, as_superuser, check_chain, new_key

pytestmark = pytest.mark.django_db(transaction=True)


def _told(action):
    return [entry.detail.fields["reason"] for entry in Entry.objects.of_action(action).select_related("detail")]


def test_seal_covers_every_entry_in_the_order_of_transactions():
    made = append(5)
    assert seal_all() == 5
    (seal,) = check_chain()
    assert (seal.number, seal.kind, seal.epoch, seal.size, seal.after_id) == (1, "seal", 1, 5, 0)
    assert seal.cluster == read_facts().cluster != ""
    assert list(Leaf.objects.order_by("position").values_list("entry", flat=True)) == [entry.pk for entry in made]


def test_nothing_new_makes_no_seal():
    append()
    seal_all()
    assert seal_all() == 0
    assert Seal.objects.count() == 1


def test_seals_follow_each_other_and_whole_blocks_are_kept():
    for number in (BLOCK - 1, 2, BLOCK * 2, 1):
        append(number)
        assert seal_all() == number
    assert [seal.size for seal in check_chain()] == [255, 257, 769, 770]
    assert Block.objects.count() == 3


def test_many_entries_are_sealed_in_steps_and_transactions_are_never_parted(monkeypatch):
    monkeypatch.setattr(sealer, "STEP", 10)
    append(4)
    with transaction.atomic():
        for _ in range(25):
            record("message.opened", actor=ACTOR)
    append(12)
    assert seal_all() == 41
    assert [seal.size for seal in check_chain()] == [4, 29, 39, 41]


def test_entry_of_a_transaction_that_is_still_open_waits_and_is_not_overtaken():
    with another_session() as session:
        session.execute("SELECT pg_current_xact_id()")
        append(3)
        assert seal_all() == 0
        session.rollback()
    assert seal_all() == 3
    check_chain()


def test_what_is_written_while_it_seals_waits_for_the_next_time():
    """Else a desk that is never still would be sealed without end, a few entries at a time."""

    def another(sender, instance, **_):
        if instance.number < 9:
            thread = threading.Thread(target=_append_and_leave)
            thread.start()
            thread.join(20)

    append(3)
    post_save.connect(another, sender=Seal)
    try:
        assert seal_all() == 3
        assert seal_all() == 1
    finally:
        post_save.disconnect(another, sender=Seal)
    assert [seal.size for seal in check_chain()] == [3, 4]


def _append_and_leave():
    append()
    connection.close()


def test_sealing_does_not_hold_its_own_horizon():
    append()
    with transaction.atomic():
        assert read_facts().horizon > max(Entry.objects.values_list("xid", flat=True))
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id_if_assigned()")
            assert cursor.fetchone()[0] is None


def test_without_a_key_nothing_is_sealed_and_the_state_says_so(settings):
    settings.SEAL_KEYS = []
    append()
    assert seal_all() == 0
    state = sealing_state(clock())
    assert not state.is_on
    assert "not sealed" in state.why


def test_key_that_is_none_is_named_without_being_repeated(settings):
    settings.SEAL_KEYS = [new_key(), "c2hvcnQ="]
    with pytest.raises(ImproperlyConfigured, match="SEAL_KEY must hold keys of 32") as told:
        signing.check_keys()
    assert "c2hvcnQ" not in str(told.value)


def test_another_key_is_named_by_the_one_that_leaves(settings):
    old, new = new_key(), new_key()
    settings.SEAL_KEYS = [old]
    append(2)
    seal_all()
    settings.SEAL_KEYS = [new, old]
    append(3)
    # The three, and the entry about the key itself at the next beat.
    assert (seal_all(), seal_all()) == (4, 0)
    assert [(seal.kind, seal.size) for seal in check_chain()] == [("seal", 2), ("key", 2), ("seal", 6)]
    settings.SEAL_KEYS = [new]
    append()
    assert seal_all() == 1
    assert check_chain()[-1].key == signing.public_key().hex()
    assert Entry.objects.of_action("ledger.key_changed").count() == 1


def test_another_key_without_the_old_one_seals_nothing_and_says_what_to_do(settings):
    settings.SEAL_KEYS = [old := new_key()]
    append()
    seal_all()
    settings.SEAL_KEYS = [new_key()]
    append()
    assert seal_all() == 0
    state = sealing_state(clock())
    assert state.is_stopped
    assert "Put it back into SEAL_KEY" in state.why
    settings.SEAL_KEYS = [settings.SEAL_KEYS[0], old]
    # With the one about the key.
    assert seal_all() == 2


BREAKS = [
    ("UPDATE audit_seal SET root = repeat('0', 64) WHERE number = 2", "signature of seal 2"),
    ("UPDATE audit_seal SET size = 3 WHERE number = 2", "signature of seal 2"),
    ("UPDATE audit_seal SET note = 'x' WHERE number = 1", "does not follow the seal before it"),
    ("DELETE FROM audit_seal WHERE number = 2", "leaves that no seal speaks of"),
    ("DELETE FROM audit_seal WHERE number = 1", "does not follow the seal before it"),
    ("UPDATE audit_leaf SET hash = sha256('x') WHERE position = 259", "not the one that seal 2 was made over"),
    ("DELETE FROM audit_leaf WHERE position = 257", "not whole"),
    ("UPDATE audit_block SET hash = sha256('x')", "not the one that seal 2 was made over"),
    ("DELETE FROM audit_block", "not whole"),
    ("DELETE FROM audit_leaf", "the tree is empty"),
    ("UPDATE audit_entry SET actor_id = 'x' WHERE id = (SELECT max(id) FROM audit_entry)", "as it was written"),
]


def test_nothing_is_sealed_over_a_broken_base_and_it_is_told_once():
    with transaction.atomic():
        for _ in range(BLOCK):
            record("message.opened", actor=ACTOR)
    seal_all()
    append(4)
    seal_all()
    append(2)
    for sql, named in BREAKS:
        with transaction.atomic():
            as_superuser(sql)
            assert (seal_all(), seal_all()) == (0, 0), sql
            (told,) = _told("ledger.broken")
            assert named in told, sql
            assert sealing_state(clock()).why == told
            transaction.set_rollback(True)
    assert seal_all() == 2
    check_chain()


def test_state_tells_how_far_it_is_and_when_it_is_late():
    append(3)
    state = sealing_state(clock())
    assert (state.last, state.unsealed, state.is_late) == (None, 3, False)
    seal_all()
    state = sealing_state(clock())
    assert (state.last, state.unsealed, state.waits_since, state.is_well) == (latest_seal(), 0, None, True)
    append(2)
    state = sealing_state(clock() + timedelta(seconds=61))
    assert (state.unsealed, state.is_late) == (2, True)
    assert "worker that seals" in state.advice


def test_late_state_names_the_transaction_that_holds_it_up():
    with another_session(application_name="somebody's report") as session:
        session.execute("SELECT pg_current_xact_id()")
        append()
        seal_all()
        state = sealing_state(clock() + timedelta(seconds=61))
        assert f"process {session.info.backend_pid} (somebody's report)" in state.why
        assert "others share" in state.advice
        session.rollback()


def _in_threads(number, work):
    failed = []

    def run(place):
        try:
            work(place)
        except Exception as error:  # noqa: BLE001 - told below
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[place]) for place in range(number)]
    for thread in threads:
        thread.start()
    return threads, failed


@pytest.mark.proves("case 28", "promise 7")
def test_twenty_threads_append_while_sealing_runs_and_none_is_lost():
    """Two sealers at once, transactions of several entries that overlap, some of which roll back."""
    done = threading.Event()

    def write(place):
        for turn in range(8):
            with transaction.atomic():
                record("message.opened", actor=ACTOR, details={"reason": f"writer {place}"})
                with transaction.atomic():
                    record("message.opened", actor=ACTOR)
                if turn % 4 == 3:
                    transaction.set_rollback(True)

    def seal(place):
        while not done.is_set():
            seal_all()

    sealers, sealers_failed = _in_threads(2, seal)
    writers, writers_failed = _in_threads(20, write)
    for thread in writers:
        thread.join()
    done.set()
    for thread in sealers:
        thread.join()
    seal_all()
    assert (writers_failed, sealers_failed) == ([], [])
    seals = check_chain()
    assert len(seals) > 1
    assert Entry.objects.count() == seals[-1].size == 20 * 6 * 2
