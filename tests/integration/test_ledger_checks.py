"""The desk's own look through the whole ledger: begun once a day or when asked, loud where it does not hold."""

import re
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from approvals.operating.attention import attention_count, attention_for
from audit.models import Check, Entry
from audit.proving import checking
from audit.proving.checking import begin_daily_check, run_check
from audit.sealing.anchors import write_anchors
from audit.sealing.sealer import seal_all
from dashboard.metrics import exposition
from tests.ledger import another_session, append, as_superuser

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nudged(monkeypatch):
    """What workers were told of: task and row, in order."""
    told = []
    monkeypatch.setattr(checking, "nudge", lambda task, row: told.append((task, row)))
    return told


@pytest.fixture
def sealed(settings, tmp_path):
    settings.SEAL_FILE = tmp_path / "seals.jsonl"
    for _ in range(2):
        append(20)
        seal_all()
    write_anchors()


def told(action):
    entries = Entry.objects.of_action(action).select_related("detail").oldest_first()
    return [entry.detail.fields for entry in entries]


def age(check, **by):
    Check.objects.filter(pk=check).update(**{name: Now() - ago for name, ago in by.items()})


def break_entry():
    as_superuser("UPDATE audit_entry SET action = 'message.served' WHERE id = (SELECT min(id) + 4 FROM audit_entry)")


def test_daily_check_is_begun_once_a_day_by_the_clock_of_the_database(sealed, nudged):
    begin_daily_check()
    check = Check.objects.get()
    assert nudged == [("audit.tasks.check", check.pk)]
    assert run_check(check.pk) == "holds"
    assert begin_daily_check() == "not yet"
    age(check.pk, started_at=timedelta(hours=23))
    assert begin_daily_check() == "not yet"
    age(check.pk, started_at=timedelta(hours=25))
    begin_daily_check()
    assert Check.objects.count() == 2


def test_nothing_is_begun_before_anything_is_sealed(nudged):
    append()
    assert begin_daily_check() == "not yet"
    assert nudged == []


def test_check_of_a_whole_ledger_holds_and_is_told(sealed):
    begin_daily_check()
    check = Check.objects.get()
    run_check(check.pk)
    check.refresh_from_db()
    assert (check.state, check.entries, check.seals, check.up_to, check.findings) == ("holds", 40, 2, 2, [])
    assert check.ended_at >= check.started_at
    (said,) = told("ledger.checked")
    assert (said["entries"], said["seals"]) == ("40", "2")


def test_broken_ledger_is_loud(sealed, admin, auditor, signed_in, reviewer):
    break_entry()
    begin_daily_check()
    assert run_check(Check.objects.get().pk) == "broken"
    check = Check.objects.get()
    assert check.findings
    (said,) = told("ledger.broken")
    assert said["reason"] == check.findings[0]
    for person in (admin, auditor):
        actor = person.actor(surface="web")
        (found,) = [one for one in attention_for(actor, timezone.now()) if one.kind == "ledger_broken"]
        assert check.findings[0] in found.why
        assert attention_count(actor) >= 1
    assert "The ledger does not hold" in signed_in(auditor).get("/attention/").content.decode()
    assert "countersign_ledger_broken 1" in exposition()


def test_broken_ledger_is_what_the_doctor_tells(sealed, capsys):
    break_entry()
    begin_daily_check()
    run_check(Check.objects.get().pk)
    with pytest.raises(SystemExit):
        call_command("doctor")
    assert "The ledger does not hold" in capsys.readouterr().out


def test_ledger_that_holds_again_is_no_finding_any_more(sealed, admin):
    Check.objects.create(state="broken", findings=["It did not hold."], ended_at=timezone.now())
    actor = admin.actor(surface="web")
    assert [one.kind for one in attention_for(actor, timezone.now())] == ["ledger_broken"]
    before = attention_count(actor)
    Check.objects.create(state="holds", ended_at=timezone.now())
    assert attention_for(actor, timezone.now()) == []
    assert attention_count(actor) == before - 1
    assert "countersign_ledger_broken 0" in exposition()


def test_auditor_asks_and_the_page_follows(sealed, signed_in, auditor, nudged):
    client = signed_in(auditor)
    assert "Check now" in client.get("/audit/verify/").content.decode()
    answer = client.post("/audit/verify/check/", follow=True)
    check = Check.objects.get()
    assert check.asked_by == auditor.pk
    assert nudged == [("audit.tasks.check", check.pk)]
    assert "Waits for a worker" in answer.content.decode()
    assert re.search("Asked for by.*?Max Weber", answer.content.decode())
    assert [said["actor"] for said in told("ledger.check_asked")] == ["Max Weber"]
    run_check(check.pk)
    page = client.get("/audit/verify/").content.decode()
    assert "Everything as it was sealed" in page
    assert "Max Weber" in page


def test_reviewer_may_not_ask(sealed, signed_in, reviewer):
    answer = signed_in(reviewer).post("/audit/verify/check/")
    assert answer.status_code == 403
    assert b"Only an auditor or an admin of everything" in answer.content
    assert not Check.objects.exists()


def test_nobody_can_ask_before_anything_is_sealed(signed_in, auditor):
    answer = signed_in(auditor).post("/audit/verify/check/")
    assert answer.status_code == 409
    assert b"Nothing is sealed yet" in answer.content


def test_asking_twice_makes_one_check_and_the_database_allows_no_second(sealed, signed_in, auditor):
    client = signed_in(auditor)
    for _ in range(2):
        client.post("/audit/verify/check/")
    assert Check.objects.running().count() == 1
    with pytest.raises(IntegrityError), transaction.atomic():
        Check.objects.create()


def test_one_worker_looks_however_often_it_is_told(sealed):
    begin_daily_check()
    check = Check.objects.get()
    Check.objects.update(up_to=2)
    assert run_check(check.pk) == "not to be done"
    assert run_check(4_000_000) == "not to be done"
    assert told("ledger.checked") == []


def test_check_of_a_killed_worker_is_ended_and_begun_anew(sealed, nudged):
    lost = Check.objects.create(up_to=2, asked_by=7)
    age(lost.pk, moved_at=timedelta(minutes=9))
    begin_daily_check()
    assert Check.objects.get().state == "running"
    age(lost.pk, moved_at=timedelta(minutes=11))
    begin_daily_check()
    anew = Check.objects.running().get()
    assert (anew.pk != lost.pk, anew.asked_by, nudged) == (True, 7, [("audit.tasks.check", anew.pk)])
    lost.refresh_from_db()
    assert lost.state == "ended"
    assert run_check(anew.pk) == "holds"


def test_worker_that_wakes_up_late_writes_nothing(sealed, monkeypatch):
    begin_daily_check()
    check = Check.objects.get()
    real = checking.check_database

    def slow(progress):
        Check.objects.update(state="ended")
        return real(progress)

    monkeypatch.setattr(checking, "check_database", slow)
    assert run_check(check.pk) == "given up meanwhile"
    assert Check.objects.get().state == "ended"
    assert told("ledger.checked") == []


def test_check_that_breaks_down_is_ended(sealed, monkeypatch):
    begin_daily_check()

    def broken(progress):
        raise OSError("no room")

    monkeypatch.setattr(checking, "check_database", broken)
    with pytest.raises(OSError, match="no room"):
        run_check(Check.objects.get().pk)
    assert Check.objects.get().state == "ended"


def test_check_that_no_nudge_reached_is_nudged_again(sealed, nudged):
    waits = Check.objects.create()
    age(waits.pk, moved_at=timedelta(hours=1))
    begin_daily_check()
    assert nudged == [("audit.tasks.check", waits.pk)]
    assert Check.objects.get().state == "running"


def test_progress_is_seen_while_the_look_reads_in_its_snapshot(sealed, monkeypatch):
    begin_daily_check()
    check = Check.objects.get()
    seen, beats = [], []
    monkeypatch.setattr(checking, "_PAUSE", 0.0)

    def looking(progress):
        with transaction.atomic():
            progress(17)
            with another_session() as session:
                told = session.execute("SELECT entries, moved_at > started_at FROM audit_check")
                seen.append(told.fetchone())
        return checking.Result(40, 2)

    monkeypatch.setattr(checking, "check_database", looking)
    assert run_check(check.pk, alive=lambda: beats.append(1)) == "holds"
    assert (seen, beats) == ([(17, True)], [1])
