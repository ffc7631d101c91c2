"""The demo's people and connection: created once, and updated from their file."""

import json
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db.models.functions import Now
from django.utils import timezone

from alerts.destinations.commands import remove_destination
from alerts.models import Destination
from common.credentials import read_credentials, update_credentials
from common.demo import ANA, APP_ID, APPROVALS, BEN
from connections.accounts.commands import remove_connection
from demo.discord.limits import find_command_errors
from mirror.models import Connection, Mailbox
from people.models import DiscordAccount, Grant, Person

CREDENTIALS = {
    name: f"mm_live_{name}"
    for name in ("AGENT_KEY", "OVERSIGHT_KEY", "READ_KEY", "ADMIN_KEY")
}
CREDENTIALS |= {
    "MAILBOX_ID": "1",
    "MAILBOX_ADDRESS": "a@x.example",
    "MAILBOX2_ID": "2",
    "MAILBOX2_ADDRESS": "b@x.example",
}


@pytest.fixture
def credentials(tmp_path):
    return tmp_path / "credentials.env"


def prepare(credentials):
    call_command("demo_desk", "begin", credentials=credentials)
    update_credentials(credentials, CREDENTIALS)
    call_command("demo_desk", "finish", credentials=credentials)
    return read_credentials(credentials)


@pytest.mark.slow
def test_preparing_twice_creates_everything_once_even_after_the_file_was_lost(
    credentials,
):
    first = prepare(credentials)
    second = prepare(credentials)
    assert first == second
    made = [model.objects.count() for model in (Person, Grant, Connection, Mailbox)]
    assert made == [4, 4, 1, 2]
    credentials.unlink()
    known = prepare(credentials)
    assert credentials.stat().st_mode & 0o777 == 0o600
    for prefix in ("REVIEWER", "REVIEWER2", "ADMIN", "AUDITOR"):
        person = Person.objects.get(email=known[f"{prefix}_EMAIL"])
        assert person.check_password(known[f"{prefix}_PASSWORD"])
    assert Connection.objects.get().webhook_secret == known["WEBHOOK_SECRET"]


@pytest.mark.slow
def test_connection_paused_by_a_refused_key_is_resumed_and_a_removed_one_gets_no_keys(
    credentials, admin
):
    prepare(credentials)
    Connection.objects.update(
        paused_at=Now() - timedelta(hours=1), paused_because="Refused.", read_at=Now()
    )
    assert not Connection.objects.to_probe().exists()
    prepare(credentials)
    assert Connection.objects.to_probe().exists()
    found = Connection.objects.get()
    actor = admin.actor(surface="web")
    remove_connection(
        connection=found, typed_name=found.name, actor=actor, now=timezone.now()
    )
    prepare(credentials)
    assert Connection.objects.get().oversight_key == ""
    assert Connection.objects.at_work().count() == 0


def kinds():
    return {one.name: one.kind for one in Destination.objects.not_removed()}


@pytest.mark.slow
def test_alert_destinations_are_created_once_and_follow_the_ports_of_each_run(
    credentials, settings, admin
):
    settings.DISCORD_APP_ID = APP_ID
    settings.DISCORD_PORT = 7001
    prepare(credentials)
    first = kinds()
    assert first == {
        "#approvals (demo)": "discord_bot",
        "#support (demo)": "discord_bot",
        "#mail-log (demo)": "discord_webhook",
        "Inngest (demo)": "inngest",
        "Signed webhook (demo)": "signed_webhook",
    }
    assert Destination.objects.get(name="#approvals (demo)").channel == APPROVALS.id
    settings.DISCORD_PORT = 7002
    inngest = Destination.objects.get(name="Inngest (demo)")
    remove_destination(actor=admin.actor(surface="web"), destination_id=inngest.pk)
    known = prepare(credentials)
    assert kinds() == {name: kind for name, kind in first.items() if kind != "inngest"}
    hook = Destination.objects.get(name="Signed webhook (demo)")
    assert hook.url == "http://127.0.0.1:7002/hook"
    assert hook.secret == known["HOOK_SECRET"]
    assert (
        not Destination.objects.filter(name="Inngest (demo)").exclude(url="").exists()
    )


def test_own_discord_application_leaves_the_demo_webhooks_in_use(credentials, settings):
    settings.DISCORD_APP_ID = "4711"
    prepare(credentials)
    assert "discord_bot" not in kinds().values()
    assert kinds()["#approvals (demo)"] == "discord_webhook"


@pytest.mark.slow
def test_reviewers_are_linked_once_and_the_commands_are_valid_for_discord(credentials):
    prepare(credentials)
    linked = dict(DiscordAccount.objects.values_list("discord_id", "person__email"))
    assert linked == {ANA.id: ANA.email, BEN.id: BEN.email}
    # A removed account is not linked again.
    DiscordAccount.objects.get(discord_id=ANA.id).delete()
    prepare(credentials)
    assert [account.discord_id for account in DiscordAccount.objects.all()] == [BEN.id]
    commands = json.loads((credentials.parent / "discord-commands.json").read_text())
    assert find_command_errors(commands) == {}
    assert {one["name"] for one in commands} == {
        "sendemail",
        "checkinbox",
        "reply",
        "pending",
    }
