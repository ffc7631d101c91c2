"""The demo's people and connection: made once, and following their file."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db.models.functions import Now
from django.utils import timezone

from approvals.connecting.removing import remove_connection
from approvals.models import Connection, Mailbox
from common.credentials import read_credentials, update_credentials
from people.models import Grant, Person

pytestmark = pytest.mark.django_db


@pytest.fixture
def credentials(tmp_path):
    return tmp_path / "credentials.env"


def prepare(credentials):
    call_command("demo_desk", "begin", credentials=credentials)
    keys = {name: f"mm_live_{name}" for name in ("AGENT_KEY", "OVERSIGHT_KEY", "READ_KEY", "ADMIN_KEY")}
    mailboxes = {
        "MAILBOX_ID": "1",
        "MAILBOX_ADDRESS": "a@x.example",
        "MAILBOX2_ID": "2",
        "MAILBOX2_ADDRESS": "b@x.example",
    }
    update_credentials(credentials, {**keys, **mailboxes})
    call_command("demo_desk", "finish", credentials=credentials)
    return read_credentials(credentials)


def test_preparing_twice_makes_everything_once(credentials):
    first, second = prepare(credentials), prepare(credentials)
    assert first == second
    assert (Person.objects.count(), Grant.objects.count(), Connection.objects.count(), Mailbox.objects.count()) == (
        4,
        4,
        1,
        2,
    )


def test_file_is_for_its_owner_only(credentials):
    prepare(credentials)
    assert credentials.stat().st_mode & 0o777 == 0o600


def test_people_sign_in_with_the_passwords_of_the_file_also_after_it_was_lost(credentials):
    prepare(credentials)
    credentials.unlink()
    known = prepare(credentials)
    for prefix in ("REVIEWER", "REVIEWER2", "ADMIN", "AUDITOR"):
        person = Person.objects.get(email=known[f"{prefix}_EMAIL"])
        assert person.check_password(known[f"{prefix}_PASSWORD"])
    assert Connection.objects.get().webhook_secret == known["WEBHOOK_SECRET"]


def test_connection_that_a_refused_key_has_paused_is_read_at_once_after_a_restart(credentials):
    prepare(credentials)
    Connection.objects.update(paused_at=Now() - timedelta(hours=1), paused_because="Refused.", read_at=Now())
    assert not Connection.objects.to_probe().exists()
    prepare(credentials)
    assert Connection.objects.to_probe().exists()


def test_connection_that_somebody_removed_gets_no_keys_again(credentials, admin):
    prepare(credentials)
    found, actor = Connection.objects.get(), admin.actor(surface="web")
    remove_connection(connection=found, typed_name=found.name, actor=actor, now=timezone.now())
    prepare(credentials)
    assert (Connection.objects.get().oversight_key, Connection.objects.at_work().count()) == ("", 0)
