"""The doctor says in sentences what is stuck, why and what to do; also when PostgreSQL or Redis is down."""

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import redis
from django.conf import settings
from django.core.management import call_command
from django.db import connection as database
from django.db.models.functions import Now

from alerts.models import Destination
from approvals.intake import unsigned
from approvals.models import Connection, Decision, Message
from dashboard import foundations
from dashboard.launch import data_folder
from dashboard.models import Tick
from policy.kill_switch import pull
from tests.factories import make_connection, make_message

ROOT = Path(__file__).resolve().parents[2]
JOBS = ("approvals.tasks.sweep", "alerts.tasks.sweep")


@pytest.fixture
def well(connection):
    """A desk in which nothing is stuck."""
    Connection.objects.update(complete_as_of=Now())
    for job in JOBS:
        Tick.objects.create(job=job, period=1)
    return connection


def ask(capsys):
    """Return the exit status and what was said."""
    status = 0
    try:
        call_command("doctor")
    except SystemExit as ended:
        status = int(ended.code or 0)
    return status, capsys.readouterr().out


def start_apart(**environment):
    """Ask in a process of its own, whose PostgreSQL or Redis may be away."""
    command = [sys.executable, str(ROOT / "manage.py"), "doctor"]
    done = subprocess.run(
        command, env={**os.environ, **environment}, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.django_db
def test_doctor_finds_nothing_on_a_desk_that_is_well(capsys, well):
    status, said = ask(capsys)
    assert (status, said.splitlines()[-1]) == (0, "Nothing is stuck.")
    assert "PostgreSQL 1" in said
    assert "tasks that wait: decisions" in said


@pytest.mark.django_db
def test_doctor_says_what_is_stuck_why_and_where_to_act(capsys, well, reviewer, admin):
    message = make_message(well, subject="Invoice 2207")
    Decision.objects.create(
        message=message, revision=message.revision, outcome="approve", reference="R", given_by=reviewer,
        state="unknown", due_at=Now(), explanation="MultiMail did not answer in time.",
    )  # fmt: skip
    pull(actor=admin.actor(surface="web"), reason="A flood of refunds")
    Connection.objects.update(paused_at=Now(), paused_because="The key was refused.")
    Destination.objects.create(name="Ops", url="https://discord.com/api/webhooks/1/secret-token",
                               switched_off_at=Now(), switched_off_because="Discord says it is gone.")  # fmt: skip
    status, said = ask(capsys)
    assert (status, said.splitlines()[-1]) == (1, "4 things are stuck.")
    for words in (
        "not known whether “Invoice 2207” was approved", "MultiMail did not answer in time.",
        "Ida Lindqvist pulled the kill switch for everything", "A flood of refunds",
        "Gateway main is paused", "The key was refused.",
        "Alerts to Ops are switched off", "Discord says it is gone.", f"{settings.PUBLIC_URL}/attention/",
    ):  # fmt: skip
        assert words in said, words
    for secret in ("secret-token", "mm_live_oversight", "whsec_of_the_tests", settings.SECRET_KEY):
        assert secret not in said


@pytest.mark.django_db
def test_doctor_misses_workers_that_are_silent(capsys, well):
    Tick.objects.update(at=Now() - timedelta(minutes=3))
    status, said = ask(capsys)
    assert status == 1
    assert "Decisions are not carried out, and MultiMail is not read: no worker has been seen since" in said
    assert "Alerts are not sent: no worker has been seen since" in said


@pytest.mark.django_db
def test_doctor_obeys_nothing_that_a_subject_says_to_the_terminal(capsys, well, reviewer):
    message = make_message(well, subject="\x1b[2J\x07gone\u202e")
    Message.objects.filter(pk=message.pk).update(expires_at=Now() - timedelta(minutes=5))
    status, said = ask(capsys)
    assert status == 1
    assert "\x1b" not in said
    assert "[2J" in said


def _nothing_is_wrong(monkeypatch):
    """The tests' role owns the tables, as with one DATABASE_URL for everything."""


def _triggers_are_off(monkeypatch):
    with database.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_entry DISABLE TRIGGER USER")


def _migrations_are_missing(monkeypatch):
    with database.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'policy'")


def _disk_is_full(monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: (10 * 1024**3, 0, 100 * 1024**2))


def _clock_is_off(monkeypatch):
    monkeypatch.setattr("dashboard.foundations.time.time", lambda: time.time_ns() / 1e9 - 3600)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("damage", "status", "words"),
    [
        (_nothing_is_wrong, 0, "Triggers alone guard the ledger"),
        (_triggers_are_off, 1, "The triggers that guard the ledger are gone or off: audit_entry."),
        (_migrations_are_missing, 1, "migrations have not been made: policy.0001"),
        (_disk_is_full, 1, "The disk of DATA_DIR is nearly full: 100 MB are free."),
        (_clock_is_off, 0, "The clock of this host is 3600 s behind the database's."),
    ],
    ids=["triggers alone", "triggers off", "migrations", "disk", "clock"],
)
def test_doctor_tells_what_is_wrong_with_what_the_desk_stands_on(capsys, well, monkeypatch, damage, status, words):
    damage(monkeypatch)
    ended, said = ask(capsys)
    assert (ended, words in said) == (status, True)


@pytest.mark.django_db
def test_doctor_says_that_the_desk_does_not_run_and_names_no_address_of_it(capsys, well, reviewer, settings, tmp_path):
    # As ./run manage leaves it while its command runs and no run holds the folder.
    settings.DATA_DIR = tmp_path
    decide = {"message": make_message(well, subject="Invoice 2207"), "given_by": reviewer, "outcome": "approve"}
    Decision.objects.create(revision=decide["message"].revision, reference="R", state="unknown", due_at=Now(), **decide)
    Decision.objects.create(
        **decide | {"message": (other := make_message(well))}, revision=other.revision, reference="S",
        state="recorded", due_at=Now() - timedelta(minutes=5),
    )  # fmt: skip
    Connection.objects.update(complete_as_of=Now() - timedelta(hours=1))
    Tick.objects.update(at=Now() - timedelta(hours=1))
    with data_folder.held(tmp_path):
        data_folder.write_state(tmp_path, {"pid": 1, "verb": "manage", "processes": {"postgres": 2, "redis": 3}})
        status, said = ask(capsys)
        data_folder.write_state(tmp_path, {"pid": 1, "verb": "manage", "processes": {}})
        elsewhere = ask(capsys)[1]
    assert (status, said.splitlines()[-1]) == (1, "2 things are stuck.")
    assert "The desk does not run" in said
    assert "not known whether “Invoice 2207” was approved" in said
    assert "/attention/" in said
    for words in (settings.PUBLIC_URL, "no worker", "not well read", "not carried out"):
        assert words not in said
        assert words in elsewhere
    assert "does not run:" not in elsewhere


@pytest.mark.django_db(transaction=True)
def test_doctor_names_a_session_that_idles_in_a_transaction(capsys, well):
    with psycopg.connect(**database.get_connection_params() | {"cursor_factory": psycopg.Cursor}) as other:
        other.execute("SELECT 1")
        pid = other.info.backend_pid
        # A minute is long; what is asked of PostgreSQL stays the same.
        source = foundations._idle_transactions
        findings = list(source(longer_than=timedelta(0)))
    assert any(f"process {pid}" in finding.sentence for finding in findings)


@pytest.mark.django_db
def test_doctor_tells_tasks_that_pile_up_and_a_redis_that_evicts(capsys, well):
    broker = redis.Redis.from_url(settings.REDIS_URL)
    policy = broker.config_get("maxmemory-policy")["maxmemory-policy"]
    try:
        broker.rpush("sync", *["{}"] * 1001)
        broker.config_set("maxmemory-policy", "allkeys-lru")
        status, said = ask(capsys)
    finally:
        broker.config_set("maxmemory-policy", policy)
        broker.delete("sync")
    assert status == 1
    assert "1001 tasks wait in the queue sync." in said
    assert "maxmemory-policy allkeys-lru" in said


@pytest.mark.django_db
def test_doctor_speaks_when_redis_is_down(capsys, well, settings):
    settings.REDIS_URL = "redis://user:hunter2@127.0.0.1:1/0"
    status, said = ask(capsys)
    assert status == 1
    assert "Redis does not answer:" in said
    assert "hunter2" not in said
    assert "PostgreSQL 1" in said


def test_doctor_speaks_when_postgresql_is_down():
    status, said = start_apart(DATABASE_URL="postgresql://desk:hunter2@127.0.0.1:1/desk")
    assert status == 1
    assert "PostgreSQL does not answer:" in said
    assert "what is stuck beyond that cannot be told" in said
    assert "hunter2" not in said
    assert "Traceback" not in said


def test_no_driver_can_make_the_doctor_tell_a_password():
    error = OSError('cannot connect with "postgresql://desk:hunter2@db/desk"\nhunter2 again')
    assert foundations._first_line(error, "hunter2") == 'cannot connect with "postgresql://desk:[hidden]@db/desk"'


@pytest.mark.django_db
def test_metrics_tell_ages_and_counts(client, well, reviewer):
    message = make_message(well)
    Message.objects.filter(pk=message.pk).update(held_at=Now() - timedelta(seconds=90))
    make_connection("never")
    Connection.objects.filter(slug="main").update(complete_as_of=Now() - timedelta(seconds=30))
    lines = dict(
        line.rsplit(" ", 1) for line in client.get("/metrics").content.decode().splitlines() if not line.startswith("#")
    )
    assert lines["countersign_messages_waiting"] == "1"
    assert 89 < float(lines["countersign_oldest_waiting_seconds"]) < 120
    assert 29 < float(lines['countersign_complete_age_seconds{connection="main"}']) < 60
    assert lines['countersign_complete_age_seconds{connection="never"}'] == "+Inf"
    assert lines['countersign_webhooks_to_look_at{connection="main",result="poison"}'] == "0"
    assert float(lines['countersign_last_tick_age_seconds{job="approvals.tasks.sweep"}']) < 30
    assert lines["countersign_oldest_in_doubt_seconds"] == "0"


@pytest.mark.django_db
def test_forged_webhooks_are_counted_where_people_look(client, capsys, well, signed_in, admin, monkeypatch):
    monkeypatch.setattr("common.nudge._rests_until", 0.0)
    before = unsigned.total()
    answer = client.post(f"/webhooks/multimail/{well.webhook_id}/", b"{}", content_type="application/json")
    assert answer.status_code == 401
    assert f"countersign_webhooks_unsigned {before + 1}" in client.get("/metrics").content.decode()
    status, said = ask(capsys)
    assert (status, "1 webhook to Gateway main had no valid signature" in said) == (0, True)
    assert b"1 without a valid signature" in signed_in(admin).get("/connections/").content


@pytest.mark.django_db
def test_metrics_answer_in_a_form_that_prometheus_reads(client, well):
    for line in client.get("/metrics").content.decode().splitlines():
        name, _, value = line.rpartition(" ")
        assert line.startswith("# ") or (name.startswith("countersign_") and float(value) >= 0)
