"""What an operator does by a command, and a worker by itself, stands in the ledger too, with a number to find it by."""

import io
import os
import re
import subprocess
import sys
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.db.models.functions import Now
from django.test import Client

from approvals.models import Message
from approvals.tasks import sweep
from audit.models import Entry
from audit.trail import lines
from dashboard.launch.paths import ROOT
from tests.factories import make_connection, make_message

pytestmark = pytest.mark.django_db

NEW = "a gannet counts slow wagons"
TRACE = re.compile("[0-9a-f]{16}")


def told(action):
    (line,) = lines(Entry.objects.of_action(action))
    return line


def change_password(monkeypatch, email, *typed):
    answers = iter(typed)
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    call_command("changepassword", email, stdout=io.StringIO(), stderr=io.StringIO())


def test_new_password_by_a_command_is_told_and_ends_the_sessions(monkeypatch, admin):
    browser = Client()
    browser.post("/accounts/login/", {"login": admin.email, "password": "correct horse battery"})
    change_password(monkeypatch, admin.email.upper(), NEW, NEW)
    line = told("person.password_changed")
    assert (line.entry.actor_kind, line.entry.actor_id, line.entry.surface) == ("command", "changepassword", "command")
    assert (line.details["email"], line.details["sessions ended"]) == (admin.email, "1")
    admin.refresh_from_db()
    assert admin.check_password(NEW)
    assert browser.get("/queue/").status_code == 302


def test_password_that_was_not_set_is_not_told(monkeypatch, admin):
    with pytest.raises(CommandError):
        change_password(monkeypatch, admin.email, *("short",) * 6)
    with pytest.raises(CommandError):
        change_password(monkeypatch, "nobody@yourteam.example", NEW, NEW)
    assert not Entry.objects.exists()


def test_doctor_changes_nothing(admin):
    make_message(make_connection())
    before = Entry.objects.count()
    with pytest.raises(SystemExit):
        call_command("doctor", stdout=io.StringIO())
    assert Entry.objects.count() == before


@pytest.mark.django_db(transaction=True)
def test_command_line_gives_what_it_does_a_number():
    url = f"postgresql://{database.settings_dict['USER']}@/{database.settings_dict['NAME']}"
    variables = {**os.environ, "DATABASE_URL": f"{url}?host={database.settings_dict['HOST']}"}
    command = [sys.executable, str(ROOT / "manage.py"), "first_admin", "--email", "eva@example.com"]
    subprocess.run(command, env=variables, cwd=ROOT, check=True, capture_output=True)
    line = told("person.invited")
    assert (line.entry.actor_kind, line.entry.actor_id, line.entry.surface) == ("command", "first_admin", "command")
    assert TRACE.fullmatch(line.entry.trace)


@pytest.mark.django_db(transaction=True)
def test_worker_gives_each_run_a_number():
    message = make_message(make_connection())
    Message.objects.filter(pk=message.pk).update(expires_at=Now() - timedelta(minutes=1))
    done = sweep.apply()
    line = told("decision.recorded")
    assert (line.entry.actor_kind, line.entry.actor_id, line.entry.surface) == ("rule", "expiry", "worker")
    assert line.entry.trace == done.id.replace("-", "")[:16]
