"""Sealing: which entries are sealed and when, what stops it, key changes, and
concurrent writers.
"""

import threading
from datetime import timedelta
from functools import partial

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import transaction

from approvals.operations.attention import attention_count, attention_for
from audit.models import Entry, Seal, SealedEntry
from audit.recording import record
from audit.sealing import sealer, signing
from audit.sealing.sealer import seal_all
from audit.sealing.signing import (
    SealingRefused,
    check_end,
    latest_seal,
)
from audit.sealing.status import sealing_state
from common.postgres import clock
from common.postgres.server import cluster_id
from tests.factories import make_person
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


def test_seals_cover_every_entry_in_the_order_of_transactions_and_follow_each_other():
    made = append(5)
    assert [seal_all() for _ in range(2)] == [5, 0]
    (seal,) = check_chain()
    assert (seal.number, seal.kind, seal.epoch, seal.after_id) == (1, "seal", 1, 0)
    assert seal.cluster == cluster_id() != ""
    assert list(
        SealedEntry.objects.order_by("position").values_list("entry", flat=True)
    ) == [one.pk for one in made]
    append()
    assert seal_all() == 1
    assert [(seal.count, seal.size) for seal in check_chain()] == [(5, 5), (1, 6)]


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


def test_nothing_is_sealed_without_a_key_or_while_another_seals(settings):
    append()
    with another_session() as session:
        session.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [sealer.LOCK]
        )
        assert seal_all() == 0
    keys = settings.SEAL_KEYS
    settings.SEAL_KEYS = []
    assert seal_all() == 0
    now = sealing_state(clock())
    assert (now.is_on, now.is_stopped) == (False, False)
    assert "not sealed" in now.why
    settings.SEAL_KEYS = keys
    assert seal_all() == 1


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
        "signature of seal 2",
    ),
    (
        "UPDATE audit_seal SET note = 'x' WHERE number = 1",
        "does not follow the seal before it",
    ),
    (
        "DELETE FROM audit_seal WHERE number = 2",
        "entries are sealed that no seal covers",
    ),
    (
        "UPDATE audit_sealedentry SET hash = sha256('x') WHERE position = 3",
        "not the ones that seal 2 was made over",
    ),
    (
        "DELETE FROM audit_sealedentry WHERE position = 5",
        "not all of them are listed as sealed",
    ),
    ("DELETE FROM audit_sealedentry", "not all of them are listed as sealed"),
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


FORGED = [
    (1, {"previous": "0" * 64}, "The first seal names one before it"),
    (2, {"previous": "0" * 64}, "Seal 2 does not follow the seal before it"),
    (
        2,
        {"key": "another"},
        "Seal 2 is signed with a key that the seal before it does not name",
    ),
]


def test_seal_that_is_signed_but_does_not_belong_there_is_refused(settings):
    """As a thief of a key could write one."""
    settings.SEAL_KEYS = [new_key(), new_key()]
    for number, fields, named in FORGED:
        if Seal.objects.count() < number:
            append()
            seal_all()
        seal = latest_seal()
        seal.previous = fields.get("previous", seal.previous)
        seal.key = signing.public_keys()["key" in fields]
        signature = signing.sign(seal)
        with transaction.atomic():
            forged = [seal.previous, seal.key, signature, number]
            as_superuser(
                "UPDATE audit_seal SET previous = %s, key = %s, signature = %s WHERE number = %s",
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
    with another_session() as session:
        session.execute("SELECT pg_current_xact_id()")
        append(3)
        seal_all()
        since = sealing_state(clock()).waits_since
        assert not sealing_state(since + timedelta(seconds=60)).is_late
        now = sealing_state(since + timedelta(seconds=61))
        assert (now.unsealed, now.is_late) == (3, True)
        assert f"process {session.info.backend_pid}, open" in now.why
        session.rollback()
    advice = sealing_state(since + timedelta(seconds=61)).advice
    assert "sealing worker" in advice


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


LATE = "The newest ledger entries are not sealed"


@pytest.fixture
def late():
    """Entries that should have been sealed long ago."""
    append()
    seal_all()
    as_superuser("UPDATE audit_seal SET at = at - interval '5 minutes'")
    append(2)
    as_superuser(
        "UPDATE audit_entry SET at = at - interval '2 minutes' WHERE id > (SELECT min(id) FROM audit_entry)"
    )


def _ledger(person):
    actor = person.actor(surface="web")
    return [
        one for one in attention_for(actor, clock()) if one.kind.startswith("ledger")
    ]


def test_late_seals_are_shown_to_those_who_see_everything(
    late, admin, auditor, connection, settings, signed_in
):
    narrow = make_person(
        "dan@yourteam.example", "Dan", "reviewer", connection=connection
    )
    before = attention_count(narrow.actor(surface="web"))
    (one,) = _ledger(auditor)
    assert one.what == LATE
    assert _ledger(admin) == [one]
    assert _ledger(narrow) == []
    assert attention_count(auditor.actor(surface="web")) == before + 1
    assert LATE in signed_in(auditor).get("/attention/").text
    settings.SEAL_KEYS = []
    assert _ledger(auditor) == [], "a key that is missing is no alarm"


def test_doctor_and_metrics_show_how_far_the_ledger_is_sealed(
    late, client, settings, capsys
):
    lines = dict(
        line.rsplit(" ", 1)
        for line in client.get("/metrics").text.splitlines()
        if line[0] != "#"
    )
    assert float(lines["countersign_ledger_unsealed"]) == Entry.objects.count() - 1
    assert float(lines["countersign_ledger_oldest_unsealed_seconds"]) > 100
    assert float(lines["countersign_ledger_seal_age_seconds"]) > 200
    assert float(lines["countersign_ledger_stopped"]) == 0

    def doctor():
        with pytest.raises(SystemExit):
            call_command("doctor")
        return capsys.readouterr().out

    assert LATE in doctor()
    settings.SEAL_KEYS = []
    assert "SEAL_KEY is not set" in doctor()
    # Stopped sealing is reported at once, before anything is late.
    as_superuser("UPDATE audit_entry SET at = clock_timestamp()")
    settings.SEAL_KEYS = [new_key()]
    assert "Sealing of the ledger has stopped" in doctor()
