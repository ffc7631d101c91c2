"""The commands that make accounts: the demo's, and an operator's."""

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from common.credentials import read_credentials, update_credentials
from gateway.auth import hash_key
from gateway.models import Account, ApiKey, AuditLogEntry, Mailbox, Webhook
from tests.integration.gateway.world import World, make_world

NAMES = {"AGENT_KEY", "OVERSIGHT_KEY", "READ_KEY", "ADMIN_KEY", "GATEWAY_URL"}
NAMES |= {"MAILBOX_ID", "MAILBOX_ADDRESS", "MAILBOX2_ID", "MAILBOX2_ADDRESS"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "credentials.env"
    update_credentials(
        path, {"WEBHOOK_URL": "http://127.0.0.1:8000/webhooks/multimail/abc/", "WEBHOOK_SECRET": "whsec_x"}
    )
    return path


def test_demo_gateway_fills_the_file_and_is_idempotent(db: None, file: Path):
    call_command("demo_gateway", credentials=file)
    first = read_credentials(file)
    call_command("demo_gateway", credentials=file)
    assert NAMES.issubset(first)
    assert read_credentials(file) == first
    assert (ApiKey.objects.count(), Mailbox.objects.count(), Webhook.objects.count()) == (4, 2, 1)
    assert first["AGENT_KEY"].startswith("mm_live_")
    assert Mailbox.objects.get(pk=first["MAILBOX2_ID"]).allow_looser_per_call
    assert Webhook.objects.get().secret == "whsec_x"


def test_demo_gateway_fills_a_lost_database_with_the_same_keys(db: None, file: Path):
    call_command("demo_gateway", credentials=file)
    before = read_credentials(file)
    Account.objects.all().delete()
    call_command("demo_gateway", credentials=file)
    after = read_credentials(file)
    assert {name for name in NAMES if before[name] != after[name]} == {"MAILBOX_ID", "MAILBOX2_ID"}
    assert ApiKey.objects.count() == 4


def test_demo_gateway_replaces_a_revoked_key_by_one_that_works(db: None, file: Path):
    call_command("demo_gateway", credentials=file)
    before = read_credentials(file)
    revoked = ApiKey.objects.get(sha256=hash_key(before["OVERSIGHT_KEY"]))
    ApiKey.objects.filter(pk=revoked.pk).update(revoked_at=timezone.now())
    call_command("demo_gateway", credentials=file)
    after = read_credentials(file)
    assert {name for name in before if before[name] != after[name]} == {"OVERSIGHT_KEY"}
    made = ApiKey.objects.get(sha256=hash_key(after["OVERSIGHT_KEY"]))
    assert (made.revoked_at, made.scopes, made.name) == (None, revoked.scopes, revoked.name)
    call_command("demo_gateway", credentials=file)
    assert read_credentials(file) == after


def test_demo_gateway_follows_the_desk_to_another_port(db: None, file: Path):
    call_command("demo_gateway", credentials=file)
    update_credentials(file, {"WEBHOOK_URL": "http://127.0.0.1:9000/webhooks/multimail/abc/"})
    call_command("demo_gateway", credentials=file)
    assert [webhook.url for webhook in Webhook.objects.all()] == ["http://127.0.0.1:9000/webhooks/multimail/abc/"]


def test_demo_gateway_wakes_the_desk_s_subscription(db: None, file: Path):
    call_command("demo_gateway", credentials=file)
    Webhook.objects.update(paused_at=timezone.now(), failures=10)
    call_command("demo_gateway", credentials=file)
    webhook = Webhook.objects.get()
    assert (webhook.paused_at, webhook.failures) == (None, 0)


def test_gateway_account_prints_keys_that_work(db: None):
    out = io.StringIO()
    call_command("gateway_account", name="Initech", stdout=out)
    lines = dict(line.rsplit(None, 1) for line in out.getvalue().splitlines() if "mm_" in line)
    account = Account.objects.get(slug="initech")
    world = World(account, account.mailboxes.get(), {"agent": lines["agent"], "desk": lines["oversight"]})
    assert world.send().status_code == 202
    assert world.pending()["count"] == 1


def test_gateway_account_tells_its_short_name_and_whose_the_domain_is(db: None):
    first, second = io.StringIO(), io.StringIO()
    call_command("gateway_account", name="Globex Ltd", address="info@globex.example", stdout=first)
    call_command("gateway_account", name="Sales", address="sales@globex.example", stdout=second)
    assert "(--account globex-ltd)" in first.getvalue()
    assert "note" not in first.getvalue()
    assert "globex.example stays with account globex-ltd" in second.getvalue()


def test_gateway_account_refuses_a_name_that_is_taken(db: None):
    call_command("gateway_account", name="Initech", stdout=io.StringIO())
    with pytest.raises(CommandError, match="already"):
        call_command("gateway_account", name="initech")
    with pytest.raises(CommandError, match="not an email"):
        call_command("gateway_account", name="Other", address="nowhere")


def key_from(*options: str) -> str:
    """Ask the command for a key of the account acme, and return its text."""
    out = io.StringIO()
    call_command("gateway_key", "--account=acme", "--name=Spare", *options, stdout=out)
    return next(line for line in out.getvalue().splitlines() if line.startswith("mm_"))


def test_gateway_key_makes_a_key_when_the_last_is_lost(world: World):
    world.keys["spare"] = key_from("--scopes=admin, read")
    listed = world.call("GET", "/v1/api-keys", key="spare").json()["api_keys"]
    (made,) = [one for one in listed if one["name"] == "Spare"]
    assert (made["scopes"], made["mailboxes"], made["sandbox"]) == (["admin", "read"], None, False)
    assert AuditLogEntry.objects.get(action="api_key.created").metadata["by"] == "operator"


def test_gateway_key_limits_it_and_makes_one_for_trying_out(world: World):
    text = key_from("--scopes=send,read", f"--mailboxes={world.mailbox.address.upper()}", "--sandbox")
    key = ApiKey.objects.get(name="Spare")
    assert (key.mailbox_ids, key.sandbox, text.startswith("mm_test_")) == ([world.mailbox.pk], True, True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--scopes=send,oversight"], "cannot have both"),
        (["--scopes=sned"], "no scope 'sned'"),
        (["--scopes=send", "--mailboxes=info@globex.example"], "no mailbox info@globex.example"),
        (["--scopes=send", "--name="], "name: at least 1 character"),
        (["--scopes=send", "--account=globe"], "There are: acme, globex"),
    ],
)
def test_gateway_key_refuses_what_the_api_refuses(world: World, options: list[str], says: str):
    make_world("globex")
    with pytest.raises(CommandError, match=says):
        key_from(*options)
    assert not ApiKey.objects.filter(name="Spare").exists()
