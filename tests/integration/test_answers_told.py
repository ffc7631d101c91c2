"""Deferred responses reach Discord or are dropped: over HTTP, with a stand-in for
Discord.
"""

import io
import json
from datetime import timedelta
from itertools import count

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from alerts.cards.buttons import custom_id
from alerts.channels.discord import replies
from alerts.channels.discord.registration import COMMANDS
from alerts.models import Card, Destination, Interaction
from approvals.models import Verdict
from people.models import ChatAccount
from tests.answering import discord as standin
from tests.factories import change_row, make_message
from tests.integration.test_slash_commands import run

pytestmark = pytest.mark.usefixtures("plans_at_once")

APP = "119000000000000001"
ANA = "118000000000000042"
TOKEN = "aW50ZXJhY3Rpb246dG9rZW4"
CHANNEL = "115000000000000003"
CARD = "116000000000000004"
_numbers = count(1_300_000_000_000_000_000)


@pytest.fixture
def discord(settings):
    with standin(APP) as found:
        settings.DISCORD_API_URL = f"{found.url}/api/v10"
        settings.DISCORD_APP_ID = APP
        yield found


@pytest.fixture
def message(connection, reviewer):
    ChatAccount.objects.create(
        person=reviewer, service="discord", account_id=ANA, name="ana"
    )
    held = make_message(connection)
    channel = Destination.objects.create(
        name="Approvals", kind="discord_bot", channel=CHANNEL, privacy="full"
    )
    Card.objects.get_or_create(destination=channel, message=held, post_id=CARD)
    return held


def defer(message, act="approve", **fields):
    """Return a press that had to wait for another lock, as the endpoint stores it."""
    options = {
        "custom_id": custom_id(act, message.public_id, message.revision_id),
        "card": CARD,
    }
    return Interaction.objects.create(
        service="discord", external_id=str(next(_numbers)), kind="press", name="press", user_id=ANA, user_name="ana",
        channel_id=CHANNEL, token=TOKEN, options=json.dumps(options), **fields,
    )  # fmt: skip


def is_forgotten(row):
    return (row.token, row.options, row.answer) == ("", "", "")


def test_response_to_a_deferred_press_is_patched_to_discord_once(discord, message):
    row = defer(message)
    assert run(row) == "approve"
    [(method, path, body, authorization)] = discord.calls
    assert method == "PATCH"
    assert path == f"/api/v10/webhooks/{APP}/{TOKEN}/messages/@original"
    assert body["allowed_mentions"] == {"parse": []}
    # The token in the address is the only authentication here.
    assert authorization == ""
    assert discord.shown[TOKEN].startswith("Approved.")
    assert f"/queue/{message.public_id}/" in discord.shown[TOKEN]
    assert row.state == "delivered"
    assert row.outcome == "approve"
    assert Verdict.objects.count() == 1
    assert is_forgotten(row)
    assert run(row) == "not due"
    assert len(discord.calls) == 1


def test_failed_patch_is_retried_with_the_same_text_and_nothing_is_decided_twice(
    discord, message
):
    row = defer(message)
    limited = {
        "message": "You are being rate limited.",
        "retry_after": 100.2,
        "global": False,
    }
    discord.next.append((429, {"Retry-After": "101"}, limited))
    assert run(row) == "postponed"
    waits = row.next_attempt_at - row.last_attempt_at
    assert waits.total_seconds() == pytest.approx(101, abs=1)
    assert row.answer
    discord.status = 503
    assert run(row) == "postponed"
    discord.status = 200
    assert run(row) == "approve"
    assert discord.shown[TOKEN].startswith("Approved.")
    assert discord.statuses == [429, 503, 200]
    assert Verdict.objects.count() == 1


@pytest.mark.slow
def test_late_form_is_requested_again_and_a_response_that_discord_rejects_is_dropped(
    discord, message, caplog
):
    run(defer(message, "reject"))
    assert "Press the button again" in discord.shown[TOKEN]
    assert not Verdict.objects.exists()
    # The decision is stored although Discord rejects the response.
    for status, code in ((404, 10015), (400, 50035)):
        row = defer(message)
        discord.next.append((status, {}, {"code": code, "message": "no"}))
        if status == 404:
            # Discord may not know a token that it just gave.
            assert run(row) == "postponed"
            change_row(row, attempts=replies.MAX_UNKNOWN)
            discord.next.append((status, {}, {"code": code, "message": "no"}))
        assert run(row) == "not answered", status
        assert row.state == "failed"
        assert str(status) in row.last_error
        assert TOKEN not in row.last_error + caplog.text
        assert is_forgotten(row)
    assert [one.outcome for one in Verdict.objects.all()] == ["approve"]


def test_nothing_is_decided_or_answered_after_fifteen_minutes(discord, message):
    row = defer(message)
    Interaction.objects.update(created_at=Now() - timedelta(minutes=14))
    assert run(row) == "too late"
    assert discord.calls == []
    assert not Verdict.objects.exists()
    assert is_forgotten(row)


def test_register_sets_the_command_and_says_what_is_wrong_or_not_set(discord, settings):
    settings.DISCORD_BOT_TOKEN = "bot.token"

    def error_of(**options):
        with pytest.raises(CommandError) as raised:
            call_command("discord_register", **options)
        assert "bot.token" not in str(raised.value)
        return str(raised.value)

    for options in ({}, {"guild": "42"}):
        call_command("discord_register", stdout=io.StringIO(), **options)
    first, second = discord.calls
    path = f"/api/v10/applications/{APP}/commands"
    assert first == ("PUT", path, COMMANDS, "Bot bot.token")
    assert second[1] == f"/api/v10/applications/{APP}/guilds/42/commands"
    assert "a number" in error_of(guild="x/../1")
    settings.DISCORD_BOT_TOKEN = ""
    assert "Set DISCORD_BOT_TOKEN" in error_of()
