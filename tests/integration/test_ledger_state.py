"""The ledger status page, comparing the ledger with a saved checkpoint, and the check of the
whole ledger: daily or on request, with an alarm if it does not verify.
"""

import io
import json
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from approvals.operations.attention import attention_for
from audit.models import Check, Entry, Seal
from audit.sealing.anchors import write_anchors
from audit.sealing.sealer import seal_all
from audit.trail.proof import prove
from audit.verification import checks
from audit.verification.checks import begin_daily_check, run_check
from audit.verification.comparison import check_evidence
from audit.verifier.countersign_verify import Report
from dashboard.health.views import exposition
from tests.factories import make_message
from tests.ledger import append, as_superuser, latest_details, seal_here

# The page shows the newest seal, and the sealer cannot seal uncommitted entries.
committed = pytest.mark.django_db(transaction=True)
PATH = "/audit/verify/"
pytestmark = pytest.mark.usefixtures("sent_tasks")


@pytest.fixture
def one_seal(db):
    append()
    seal_here()


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
    return json.dumps(seal.as_json())


def compared(person, text):
    """What speaks against a checkpoint and for it; and whether it holds."""
    found = check_evidence(text.encode(), actor=person.actor(surface="web"))
    return " ".join(found.findings + found.notes), not found.findings


def words(answer):
    return answer.text.replace("&#x27;", "'")


@pytest.mark.slow
def test_saved_checkpoint_verifies_with_all_earlier_entries(reviewer, sealed):
    lines = b"".join(one.as_line() for one in sealed[:3]).decode()
    assert compared(reviewer, lines)[1]
    page_text, holds = compared(reviewer, saved(sealed[3]))
    assert holds
    assert "Every seal from seal 4 to seal 5" in page_text
    # Whatever was copied with a post in a channel.
    line = sealed[1].as_line().decode()
    post = f"Countersign APP — today at 10:12\nhash `{sealed[1].hash}`\n```\n{line}```"
    assert compared(reviewer, post)[1]
    details = latest_details("ledger.checkpoint_checked")
    assert (details["seal"], details["result"]) == ("2", "holds")


def test_ledger_that_differs_from_the_checkpoint_is_reported(reviewer, sealed):
    def cut_the_end():
        as_superuser("DELETE FROM audit_seal WHERE number = 5")
        as_superuser("DELETE FROM audit_sealedentry WHERE seal = 5")

    def seal_again_without_an_entry():
        # Whoever has the key can seal another history; a saved checkpoint reveals it.
        for table in ("seal", "sealedentry", "anchor"):
            as_superuser(f"DELETE FROM audit_{table}")
        as_superuser(
            "DELETE FROM audit_entrydetail WHERE entry_id = (SELECT min(id) FROM audit_entry)"
        )
        as_superuser(
            "DELETE FROM audit_entry WHERE id = (SELECT min(id) FROM audit_entry)"
        )
        seal_here()

    for alter, number, expected in (
        (cut_the_end, 5, "It is seal 5, and the database ends at seal 4"),
        ("DELETE FROM audit_seal WHERE number = 3", 1, "Seal 3 is missing"),
        (
            "UPDATE audit_seal SET note = 'x' WHERE number = 5",
            1,
            "Seal 5 is not signed by its key",
        ),
        (seal_again_without_an_entry, 1, "Seal 1 in the database is another one"),
    ):
        with transaction.atomic():
            alter() if callable(alter) else as_superuser(alter)
            page_text, holds = compared(reviewer, saved(sealed[number - 1]))
            assert expected in page_text, page_text
            assert not holds
            transaction.set_rollback(True)


def test_proof_is_checked_by_the_verifier_and_its_lines_are_shown(
    connection, signed_in, reviewer
):
    message = make_message(connection)
    seal_here()
    # The proof is of this desk where a key of this desk signed it.
    actor = reviewer.actor(surface="web")
    proof = prove(message.public_id, actor=actor, form="json").text
    client = signed_in(reviewer)
    file = io.BytesIO(proof.encode())
    page = words(client.post(f"{PATH}compare/", {"file": file}))
    assert "This proof holds." in page
    assert f"Message: {message.public_id}" in page
    lie = proof.replace('"action": "', '"action": "x')
    page = words(client.post(f"{PATH}compare/", {"pasted": lie}))
    assert "This proof does not hold." in page
    as_superuser("DELETE FROM audit_seal")
    page = words(client.post(f"{PATH}compare/", {"pasted": proof}))
    assert "which is not a key that you trust" in page
    assert latest_details("ledger.proof_checked")["result"] == "does not hold"


_HOLDS = Report()
_HOLDS.entries = 40
_HOLDS.seals = 2


@pytest.fixture
def check_results(monkeypatch):
    """Replaces the reading of the ledger; by default the ledger verifies."""
    found = []
    monkeypatch.setattr(
        checks,
        "check_database",
        lambda progress: found[0](progress) if found else _HOLDS,
    )
    return found


def begin_check_of_two_seals():
    for _ in range(2):
        append(20)
        seal_all()
    write_anchors()
    begin_daily_check()
    return Check.objects.get()


def age(check, **by):
    Check.objects.filter(pk=check).update(
        **{name: Now() - ago for name, ago in by.items()}
    )


def test_daily_check_starts_once_a_day_by_the_database_clock(sent_tasks, check_results):
    append()
    assert begin_daily_check() == "not yet", "nothing is sealed"
    assert sent_tasks == []
    seal_here()
    begin_daily_check()
    check = Check.objects.get()
    assert sent_tasks == [("audit.tasks.check", check.pk)]
    assert run_check(check.pk) == "holds"
    assert begin_daily_check() == "not yet"
    age(check.pk, started_at=timedelta(hours=23))
    assert begin_daily_check() == "not yet"
    age(check.pk, started_at=timedelta(hours=25))
    begin_daily_check()
    assert Check.objects.count() == 2


@committed
def test_broken_ledger_is_reported_everywhere(auditor, capsys):
    check = begin_check_of_two_seals()
    as_superuser(
        "UPDATE audit_entry SET action = 'message.served' WHERE id = (SELECT min(id) + 4 FROM audit_entry)"
    )
    assert run_check(check.pk) == "broken"
    check.refresh_from_db()
    assert latest_details("ledger.broken")["reason"] == check.findings[0]
    actor = auditor.actor(surface="web")
    (found,) = attention_for(actor, timezone.now())
    assert check.findings[0] in found.why
    assert "countersign_ledger_broken 1.0" in exposition()
    with pytest.raises(SystemExit):
        call_command("doctor")
    assert "The ledger failed verification" in capsys.readouterr().out
    Check.objects.create(state="holds", ended_at=timezone.now())
    assert attention_for(actor, timezone.now()) == []
    assert "countersign_ledger_broken 0.0" in exposition()


def test_check_of_a_killed_worker_is_ended_and_restarted(
    one_seal, sent_tasks, check_results
):
    lost = Check.objects.create(up_to=2, asked_by=7)
    age(lost.pk, moved_at=timedelta(minutes=9))
    begin_daily_check()
    assert Check.objects.get().state == "running"
    age(lost.pk, moved_at=timedelta(minutes=11))
    begin_daily_check()
    again = Check.objects.running().get()
    assert again.pk != lost.pk
    assert again.asked_by == 7
    # What was never started is sent again.
    age(again.pk, moved_at=timedelta(hours=1))
    begin_daily_check()
    assert sent_tasks == [("audit.tasks.check", again.pk)] * 2
    lost.refresh_from_db()
    assert lost.state == "ended"
    assert run_check(again.pk) == "holds"


def test_late_worker_writes_nothing_and_a_failing_one_ends_its_check(
    one_seal, check_results
):
    def broken(progress):
        raise OSError("no room")

    begin_daily_check()
    check = Check.objects.get()
    check_results.append(
        lambda progress: Check.objects.update(state="ended") and _HOLDS
    )
    assert run_check(check.pk) == "given up meanwhile"
    assert Check.objects.get().state == "ended"
    assert not Entry.objects.of_action("ledger.checked").exists()
    check_results[0] = broken
    Check.objects.update(state="running", ended_at=None, up_to=None)
    with pytest.raises(OSError, match="no room"):
        run_check(check.pk)
    assert Check.objects.get().state == "ended"
