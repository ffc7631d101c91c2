"""The ledger status page, and the check of the whole ledger: daily or on request, with
an alarm if it does not verify.
"""

import re
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from approvals.operations.attention import attention_for
from audit.models import Check, Entry, Seal
from audit.sealing.anchors import add_anchor, write_anchors
from audit.sealing.sealer import seal_all
from audit.verification import checks, views
from audit.verification.bundle import VERIFIER
from audit.verification.checks import begin_daily_check, run_check
from audit.verifier.countersign_verify import Report
from dashboard.health.views import exposition
from tests.ledger import (
    append,
    as_superuser,
    latest_details,
    seal_here,
)

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


def words(answer):
    return answer.text.replace("&#x27;", "'")


@committed
def test_page_shows_the_newest_seal_with_key_root_and_anchors(
    signed_in, reviewer, monkeypatch, settings
):
    seals = seal_five_times(seal_all)
    add_anchor(seals[2], "discord", "#proofs", "1190")
    monkeypatch.setattr(views, "SEALS", 3)
    client = signed_in(reviewer)
    page = words(client.get(PATH))
    for expected in (seals[-1].hash, seals[-1].key_fingerprint, "#proofs"):
        assert expected in page, expected
    assert re.findall('id="seal-([0-9])"', page) == ["5", "4", "3"]
    second = words(client.get(f"{PATH}?before=3"))
    assert re.findall('id="seal-([0-9])"', second) == ["2", "1"]
    settings.SEAL_KEYS = []
    assert "The ledger is not sealed." in words(client.get(PATH))


def test_downloaded_checkpoint_and_verifier_are_those_of_the_desk(signed_in, reviewer):
    client = signed_in(reviewer)
    assert client.get(f"{PATH}head.json").status_code == 409
    sealed = seal_five_times(seal_here)
    assert client.get(f"{PATH}head.json").json() == sealed[-1].as_json()
    assert client.get(f"{PATH}countersign_verify.py").content == VERIFIER.read_bytes()


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
def test_check_of_a_whole_ledger_holds_and_is_recorded():
    check = begin_check_of_two_seals()
    run_check(check.pk)
    check.refresh_from_db()
    assert (check.state, check.up_to, check.findings) == ("holds", 2, [])
    assert check.ended_at >= check.started_at
    details = latest_details("ledger.checked")
    assert (details["entries"], details["seals"]) == ("40", "2")


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


def test_auditor_requests_one_check_and_the_page_follows_it(
    signed_in, auditor, sent_tasks, check_results
):
    client = signed_in(auditor)
    assert client.post("/audit/verify/check/").status_code == 409
    append()
    seal_here()
    client.post("/audit/verify/check/")
    answer = client.post("/audit/verify/check/", follow=True)
    check = Check.objects.get()
    assert check.asked_by == auditor.pk
    assert sent_tasks[0] == ("audit.tasks.check", check.pk)
    assert re.search("Requested by.*?Max Weber", answer.text)
    assert Entry.objects.of_action("ledger.check_asked").count() == 2
    with pytest.raises(IntegrityError), transaction.atomic():
        Check.objects.create()
    run_check(check.pk)
    assert "Everything unchanged" in client.get("/audit/verify/").text


def test_claimed_or_missing_check_is_not_run(one_seal):
    begin_daily_check()
    check = Check.objects.get()
    Check.objects.update(up_to=2)
    for number in (check.pk, 4_000_000):
        assert run_check(number) == "not to be done"
    assert not Entry.objects.of_action("ledger.checked").exists()


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
