"""The commands that make accounts: the demo's, and an operator's."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from common.credentials import read_credentials, update_credentials
from gateway.models import Account, ApiKey, Mailbox, Webhook
from gateway.models.accounts import hash_key
from tests.integration.gateway.world import make_world, noted

NAMES = {"AGENT_KEY", "OVERSIGHT_KEY", "READ_KEY", "ADMIN_KEY", "GATEWAY_URL"}
NAMES |= {"MAILBOX_ID", "MAILBOX_ADDRESS", "MAILBOX2_ID", "MAILBOX2_ADDRESS"}
HOOK = "http://127.0.0.1:8000/webhooks/multimail/abc/"


@pytest.fixture
def file(db, tmp_path):
    """The credentials' file of a demo that was filled once."""
    path = tmp_path / "credentials.env"
    update_credentials(path, {"WEBHOOK_URL": HOOK, "WEBHOOK_SECRET": "whsec_x"})
    call_command("demo_gateway", credentials=path)
    return path


def changed(file):
    """Fill the file again; return the names whose values changed."""
    before = read_credentials(file)
    call_command("demo_gateway", credentials=file)
    after = read_credentials(file)
    return {name for name in before | after if before.get(name) != after.get(name)}


def printed(command, *options, **named):
    out = io.StringIO()
    call_command(command, *options, stdout=out, **named)
    return out.getvalue()


@pytest.mark.slow
def test_demo_gateway_fills_the_file_and_is_idempotent(file):
    assert changed(file) == set()
    known = read_credentials(file)
    assert NAMES.issubset(known)
    assert ApiKey.objects.count() == 4
    assert Mailbox.objects.count() == 2
    assert Webhook.objects.count() == 1
    assert known["AGENT_KEY"].startswith("mm_live_")
    assert Mailbox.objects.get(pk=known["MAILBOX2_ID"]).allow_looser_per_call
    assert Webhook.objects.get().secret == "whsec_x"
    # A revoked key is replaced by one that works; a lost database is filled with the
    # same keys.
    revoked = ApiKey.objects.get(sha256=hash_key(known["OVERSIGHT_KEY"]))
    ApiKey.objects.filter(pk=revoked.pk).update(revoked_at=timezone.now())
    assert changed(file) == {"OVERSIGHT_KEY"}
    made = ApiKey.objects.get(sha256=hash_key(read_credentials(file)["OVERSIGHT_KEY"]))
    assert made.revoked_at is None
    assert made.scopes == revoked.scopes
    assert made.name == revoked.name
    Account.objects.all().delete()
    assert changed(file) == {"MAILBOX_ID", "MAILBOX2_ID"}
    assert ApiKey.objects.count() == 4


@pytest.mark.slow
def test_demo_gateway_follows_the_desk_to_another_port_and_wakes_its_subscription(file):
    Webhook.objects.update(paused_at=timezone.now(), failures=10)
    update_credentials(file, {"WEBHOOK_URL": HOOK.replace("8000", "9000")})
    call_command("demo_gateway", credentials=file)
    webhook = Webhook.objects.get()
    assert webhook.url == HOOK.replace("8000", "9000")
    assert webhook.paused_at is None
    assert webhook.failures == 0


@pytest.mark.slow
def test_gateway_account_prints_its_short_name_and_domain_owner_and_accepts_each_name_once(
    db,
):
    first = printed("gateway_account", name="Globex Ltd", address="info@globex.example")
    assert "(--account globex-ltd)" in first
    assert "note" not in first
    assert "gated_send; calls choose no looser mode" in first
    printed(
        "gateway_account",
        name="Loose",
        address="a@loose.example",
        allow_looser_per_call=True,
    )
    assert Mailbox.objects.get(allow_looser_per_call=True).address == "a@loose.example"
    second = printed("gateway_account", name="Sales", address="sales@globex.example")
    assert "globex.example stays with account globex-ltd" in second
    with pytest.raises(CommandError, match="already"):
        printed("gateway_account", name="globex ltd")
    with pytest.raises(CommandError, match="not an email"):
        printed("gateway_account", name="Other", address="nowhere")


def key_from(*options):
    """Ask the command for a key of the account acme, and return its text."""
    lines = printed(
        "gateway_key", "--account=acme", "--name=Spare", *options
    ).splitlines()
    return next(line for line in lines if line.startswith("mm_"))


def test_gateway_key_makes_a_key_when_the_last_is_lost_limited_where_asked(world):
    world.keys["spare"] = key_from("--scopes=admin, read")
    listed = world.get("/v1/api-keys", key="spare")["api_keys"]
    (made,) = [one for one in listed if one["name"] == "Spare"]
    assert made["scopes"] == ["admin", "read"]
    assert made["mailboxes"] is None
    assert made["sandbox"] is False
    assert noted("api_key.created").metadata["by"] == "operator"
    text = key_from(
        "--scopes=send,read",
        f"--mailboxes={world.mailbox.address.upper()}",
        "--sandbox",
    )
    key = ApiKey.objects.latest("created_at")
    assert key.mailbox_ids == [world.mailbox.pk]
    assert key.sandbox is True
    assert text.startswith("mm_test_")


def test_gateway_key_refuses_what_the_api_refuses(world):
    make_world("globex")
    for options, says in {
        ("--scopes=send,oversight",): "cannot have both",
        ("--scopes=sned",): "no scope 'sned'",
        (
            "--scopes=send",
            "--mailboxes=info@globex.example",
        ): "no mailbox info@globex.example",
        ("--scopes=send", "--name="): "name: at least 1 character",
        ("--scopes=send", "--account=globe"): "There are: acme, globex",
    }.items():
        with pytest.raises(CommandError, match=says):
            key_from(*options)
    assert not ApiKey.objects.filter(name="Spare").exists()


def test_gateway_feedback_shows_what_clients_reported_of_each_account_the_newest(
    world, other, monkeypatch
):
    monkeypatch.setattr("gateway.models.accounts.MOST_FEEDBACK", 2)
    for caller, key, word in (
        (other, "admin", "elsewhere"),
        *((world, "agent", one) for one in "abc"),
    ):
        report = {"description": f"list_pending is {word}\u202e", "severity": 3}
        answer = caller.post("/v1/feedback", key=key, **report)
        assert answer.status_code == 201
        assert answer.json()["status"] == "received"
    lines = printed("gateway_feedback").splitlines()
    assert [
        line.partition("list_pending is ")[2].partition("\\")[0] for line in lines
    ] == ["c", "b", "elsewhere"]
    assert "'Acme', key 'Key agent'" in lines[0]
    assert "\u202e" not in lines[0]
    assert world.post("/v1/feedback", text="x" * 16_384).status_code == 422
    assert world.call("POST", "/v1/feedback", json=[]).status_code == 400
    assert world.call("POST", "/v1/feedback", key=None, json={}).status_code == 401
