"""The demo's people and connection: created once, and updated from their file."""

import pytest
from django.core.management import call_command

from alerts.destinations.commands import remove_destination
from alerts.models import Destination
from common.credentials import read_credentials, update_credentials
from common.demo import APP_ID, APPROVALS
from tests.factories import rolled_back

pytestmark = pytest.mark.slow

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


def kinds():
    return {one.name: one.kind for one in Destination.objects.not_removed()}


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
    # With an application of one's own, these are webhooks.
    with rolled_back():
        Destination.objects.all().delete()
        settings.DISCORD_APP_ID = "4711"
        prepare(credentials)
        assert "discord_bot" not in kinds().values()
    settings.DISCORD_APP_ID = APP_ID
    settings.DISCORD_PORT = 7002
    inngest = Destination.objects.get(name="Inngest (demo)")
    remove_destination(actor=admin.actor(surface="web"), destination_id=inngest.pk)
    known = prepare(credentials)
    assert kinds() == {name: kind for name, kind in first.items() if kind != "inngest"}
    hook = Destination.objects.get(name="Signed webhook (demo)")
    assert hook.url == "http://127.0.0.1:7002/hook"
    assert hook.secret == known["HOOK_SECRET"]
