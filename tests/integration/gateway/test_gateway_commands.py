"""The commands that make accounts: the demo's, and an operator's."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from common.credentials import read_credentials, update_credentials
from gateway.models import Account, ApiKey, Mailbox, Webhook
from gateway.models.accounts import hash_key
from tests.integration.gateway.world import make_world, noted

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
    assert ApiKey.objects.count() == 4
    assert Webhook.objects.get().secret == "whsec_x"
    assert Mailbox.objects.get(pk=known["MAILBOX2_ID"]).allow_looser_per_call
    # A revoked key is replaced by one that works; a lost database is filled with the
    # same keys.
    sha256 = hash_key(known["OVERSIGHT_KEY"])
    ApiKey.objects.filter(sha256=sha256).update(revoked_at=timezone.now())
    assert changed(file) == {"OVERSIGHT_KEY"}
    Account.objects.all().delete()
    assert changed(file) == {"MAILBOX_ID", "MAILBOX2_ID"}
    # It follows the desk to another port, and wakes its subscription.
    Webhook.objects.update(paused_at=timezone.now(), failures=10)
    moved = HOOK.replace("8000", "9000")
    update_credentials(file, {"WEBHOOK_URL": moved})
    call_command("demo_gateway", credentials=file)
    webhook = Webhook.objects.get()
    assert (webhook.url, webhook.paused_at, webhook.failures) == (moved, None, 0)


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
    assert noted("api_key.created").metadata["by"] == "operator"
    text = key_from(
        "--scopes=send,read",
        f"--mailboxes={world.mailbox.address.upper()}",
        "--sandbox",
    )
    assert text.startswith("mm_test_")
    key = ApiKey.objects.latest("created_at")
    assert key.mailbox_ids == [world.mailbox.pk]
    assert key.sandbox is True


def test_gateway_key_refuses_what_the_api_refuses(world):
    make_world("globex")
    for options in (
        ("--scopes=send,oversight",),
        ("--scopes=sned",),
        ("--scopes=send", "--mailboxes=info@globex.example"),
        ("--scopes=send", "--name="),
        ("--scopes=send", "--account=globe"),
    ):
        with pytest.raises(CommandError):
            key_from(*options)
    assert not ApiKey.objects.filter(name="Spare").exists()


def test_gateway_feedback_shows_what_clients_reported_of_each_account_the_newest(
    world, other, monkeypatch
):
    monkeypatch.setattr("gateway.models.accounts.MOST_FEEDBACK", 2)
    other.post("/v1/feedback", key="admin", description="elsewhere")
    for word in ("first", "second", "third\u202e"):
        assert world.post("/v1/feedback", description=word).status_code == 201
    shown = printed("gateway_feedback")
    lines = shown.splitlines()
    for line, word in zip(lines, ("third", "second", "elsewhere"), strict=True):
        assert word in line
    assert "'Acme', key 'Key agent'" in lines[0]
    assert "\u202e" not in shown
    assert world.post("/v1/feedback", text="x" * 16_384).status_code == 422
