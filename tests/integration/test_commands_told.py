"""Actions of commands and of workers are in the ledger too, with a trace number."""

import io
import re
import runpy
import sys
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db.models.functions import Now
from django.test import Client

from audit.models import Entry
from audit.trail import lines
from launcher.paths import ROOT
from people.models import Invitation

NEW = "a gannet counts slow wagons"


def only_entry(action):
    (line,) = lines(Entry.objects.of_action(action))
    return line


def by(line):
    return line.actor_kind, line.actor_id, line.surface


def change_password(monkeypatch, email, *typed):
    answers = iter(typed)
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    call_command("changepassword", email, stdout=io.StringIO(), stderr=io.StringIO())


def test_password_changed_by_a_command_is_recorded_and_ends_the_sessions(
    monkeypatch, admin
):
    browser = Client()
    browser.post(
        "/accounts/login/", {"login": admin.email, "password": "correct horse battery"}
    )
    Invitation.objects.create(
        kind="password",
        person=admin,
        token_hash="an open link",
        expires_at=Now() + timedelta(days=1),
    )
    change_password(monkeypatch, admin.email.upper(), NEW, NEW)
    assert not Invitation.objects.good().exists()
    line = only_entry("person.password_changed")
    assert by(line) == ("command", "changepassword", "command")
    assert line.details["email"] == admin.email
    assert line.details["sessions ended"] == "1"
    admin.refresh_from_db()
    assert admin.check_password(NEW)
    assert browser.get("/queue/").status_code == 302


# A command closes its connections to the database when it ends.
@pytest.mark.django_db(transaction=True)
def test_command_line_gives_its_actions_a_trace_number(monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["manage.py", "first_admin", "--email", "eva@example.com"]
    )
    # This process has set Django up already.
    monkeypatch.setattr("django.setup", lambda: None)
    runpy.run_path(str(ROOT / "manage.py"), run_name="__main__")
    line = only_entry("person.invited")
    assert by(line) == ("command", "first_admin", "command")
    assert re.fullmatch("[0-9a-f]{16}", line.trace)
