"""Commands on Discord: through the real gateway, and answered to a stand-in for
Discord.
"""

import contextlib
import io
import itertools
import json
import re
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.db.models.functions import Now

from alerts.channels.discord import interactions
from alerts.channels.discord import run_command as running
from alerts.channels.discord.commands import (
    with_typed_text,
)
from alerts.channels.discord.interactions import answer_interaction
from alerts.channels.discord.registration import COMMANDS
from alerts.channels.discord.run_command import note_proofs
from alerts.models import Interaction
from approvals.errors import VerdictNotAllowed
from approvals.message_page.side_panel import is_verified
from approvals.models import CommandedMail
from approvals.tasks import read_connection
from audit.models import Entry
from audit.trail import lines
from audit.trail.answers import message_origin
from gateway.models import Email
from mirror.models import Message
from people.models import ChatAccount, Grant, RoleRule
from tests.answering import discord as standin
from tests.factories import change_row, make_connection, make_message, make_person
from tests.integration.deciding import decide
from tests.integration.gateway.world import make_inbound
from tests.integration.test_interactions import application, sent  # noqa: F401 -- a fixture
from tests.ledger import lines_of

ANA = "80351110224678912"
APP = "119000000000000001"
NUMBERS = itertools.count(900)
TOKEN = "aW50ZXJhY3Rpb246dG9rZW4"
MESSAGE = {
    "to": "dana@northwind.example",
    "subject": "Your refund",
    "body": "It is on its way.",
}


@pytest.fixture
def discord(settings, monkeypatch):
    monkeypatch.setattr(running, "MAX_TRIES", 2)
    with standin(APP) as found:
        settings.DISCORD_API_URL = f"{found.url}/api/v10"
        settings.DISCORD_APP_ID = APP
        settings.DISCORD_BOT_TOKEN = "bot.token"
        yield found


@pytest.fixture
def ana(reviewer):
    ChatAccount.objects.create(
        person=reviewer, service="discord", account_id=ANA, name="ana"
    )
    return reviewer


@pytest.fixture
def desk(account, ana):
    """The served account, whose connection has an agent key."""
    account.connection.agent_key = account.world.keys["agent"]
    account.connection.save()
    return account


def rows_of(**options):
    """Return options as Discord sends and the desk stores them."""
    return [{"name": name, "type": 3, "value": text} for name, text in options.items()]


def make_command(name, user=ANA, **options):
    return Interaction.objects.create(
        service="discord", external_id=str(next(NUMBERS)), kind="command", name=name, user_id=user, user_name="ana",
        channel_name="outreach", channel_id="4711", server_id="42", token=TOKEN,
        options=json.dumps(rows_of(**options)),
    )  # fmt: skip


def run(row):
    outcome = answer_interaction(interaction_id=row.pk)
    row.refresh_from_db()
    return outcome


def make_due(row):
    change_row(row, next_attempt_at=Now())


def run_to_the_end(row):
    """Run all retries."""
    for _ in range(running.MAX_TRIES):
        make_due(row)
        run(row)


def assert_is_text(text, *live):
    """Assert that none of it is markup on Discord: it is escaped."""
    for one in live:
        assert not re.search(rf"(?<!\\){re.escape(one)}", text), text


def length(text):
    """Return the length as Discord counts characters."""
    return len(text.encode("utf-16-le")) // 2


def interact(type, number, options, user=ANA):
    """Post an interaction as Discord does, signed, and return its answer."""
    body = {
        "type": type, "id": number, "application_id": APP, "token": TOKEN, "channel_id": "4711", "guild_id": "42",
        "channel": {"id": "4711", "name": "outreach"}, "member": {"user": {"id": user, "username": "ana"}},
        "data": {"id": "1", "name": "sendemail", "type": 1, "options": options},
    }  # fmt: skip
    return sent(body).json()


def test_signed_command_that_comes_twice_sends_one_message_and_says_that_it_waits(
    desk, discord
):
    for _ in range(2):
        assert interact(2, "900", rows_of(**MESSAGE)) == {
            "type": 5,
            "data": {"flags": 64},
        }
    row = Interaction.objects.due().get()
    assert run(row) == "done"
    assert run(row) == "not due"

    email = Email.objects.get()
    assert email.status == "pending_send_approval"
    assert email.to == ["dana@northwind.example"]
    assert email.metadata == {
        "discord_user": "ana", "discord_user_id": ANA, "discord_channel": "outreach", "discord_channel_id": "4711",
        "discord_guild": "42", "discord_interaction_id": "900",
    }  # fmt: skip
    [(_, _, body, _)] = discord.calls
    assert body["allowed_mentions"] == {"parse": []}
    assert "waits for review" in body["content"]
    assert f"Message ID: `{email.pk}`" in body["content"]
    assert row.state == "delivered"
    assert row.token == row.options == ""
    [entry] = lines_of("command.given")
    assert entry.actor_kind == "person"
    expected = {"command": "/sendemail", "interaction": "900", "discord_id": ANA}
    assert expected.items() <= entry.details.items()
    assert "on its way" not in str(entry.details)


def test_recipients_may_have_names(desk, discord):
    names = (
        '"Reyes, Dana" <dana@northwind.example>; Max Orr <max@x.example> a@b.example'
    )
    assert run(make_command("sendemail", **{**MESSAGE, "to": names})) == "done"
    expected = ["dana@northwind.example", "max@x.example", "a@b.example"]
    assert Email.objects.get().to == expected


def test_who_commanded_it_may_not_approve_it_and_is_proved(
    desk, discord, ana, second_reviewer
):
    row = make_command("sendemail", **MESSAGE)
    run(row)
    liar = {"discord_user": "the boss", "discord_interaction_id": row.external_id}
    lie = {
        "to": ["eve@example.net"],
        "subject": "Lie",
        "markdown": "x",
        "metadata": liar,
    }
    desk.ask(
        "POST", f"/v1/mailboxes/{desk.world.mailbox.pk}/send", key="agent", json=lie
    )
    read_connection.run(desk.connection.pk)
    assert note_proofs() == 1
    assert note_proofs() == 0
    found = {}
    for subject in ("Your refund", "Lie"):
        message = Message.objects.get(subject=subject)
        history = lines(Entry.objects.of_message(message.public_id).oldest_first())
        facts = {
            name: status
            for name, _, status in message_origin(history)["facts"]
            if name != "API key"
        }
        found[subject] = message, facts
    message, facts = found["Your refund"]
    assert facts["Discord user"] == facts["Interaction"] == "proved"
    # The id of a command proves nothing about metadata that somebody else wrote.
    assert "proved" not in found["Lie"][1].values()
    assert is_verified(message) is True
    assert is_verified(found["Lie"][0]) is False
    # The author is known even if the trigger is lost.
    for trigger in (message.trigger, {}):
        change_row(message, trigger=trigger)
        with pytest.raises(VerdictNotAllowed, match="You started this message"):
            decide(message, ana)
    assert decide(message, second_reviewer).decision


@pytest.mark.slow
def test_sendemail_offers_mailboxes_and_addresses_that_its_author_wrote_to(
    desk, discord, ana
):
    """Point 14, as Discord asks while somebody types."""
    run(make_command("sendemail", **MESSAGE))
    stranger = {"to": ["danger@else.example"], "subject": "Another", "markdown": "x"}
    path = f"/v1/mailboxes/{desk.world.mailbox.pk}/send"
    desk.ask("POST", path, key="agent", json=stranger)
    read_connection.run(desk.connection.pk)

    def offered(option, typed, user=ANA):
        options = rows_of(**{"subject": "x", option: typed})
        options[-1]["focused"] = True
        answer = interact(4, str(next(NUMBERS)), options, user)
        assert answer["type"] == 8
        return [one["value"] for one in answer["data"]["choices"]]

    assert offered("mailbox", "SUPP") == [desk.world.mailbox.address]
    assert offered("to", "DAN") == ["dana@northwind.example"], "nobody else's addresses"
    assert offered("mailbox", "", user="80351110224678999") == []
    Grant.objects.filter(person=ana).delete()
    assert offered("mailbox", "") == offered("to", "dan") == []


# --- once, whatever happens


def test_worker_that_dies_before_the_answer_sends_no_second_message(
    desk, discord, monkeypatch
):
    def die(*_, **__):
        raise SystemExit

    for number, (where, how) in enumerate(
        [
            (running, "_store_answer"),
            (running, "note_proofs"),
            (interactions, "edit_answer"),
        ]
    ):
        row = make_command("sendemail", **{**MESSAGE, "subject": f"Letter {number}"})
        answered = len(discord.calls)
        with monkeypatch.context() as patched, contextlib.suppress(SystemExit):
            patched.setattr(where, how, die)
            run(row)
        assert Email.objects.count() == number + 1, how
        assert len(discord.calls) == answered, how
        assert answer_interaction(interaction_id=row.pk) == "not due", how
        change_row(row, lease_until=Now() - timedelta(seconds=1))
        assert Interaction.objects.due().get() == row, how
        assert run(row) == "done", how
        assert Email.objects.count() == number + 1, how
        assert len(lines_of("command.given")) == number + 1, how
        assert "waits for review" in discord.said, how


def test_fault_of_the_desk_is_answered_at_once_and_nothing_is_sent(desk, discord):
    with database.cursor() as cursor:
        # An unexpected exception in the desk.
        cursor.execute(
            "ALTER TABLE approvals_commandedmail ADD CONSTRAINT broken CHECK (false) NOT VALID"
        )
    row = make_command("sendemail", **MESSAGE)
    assert run(row) == "refused"
    assert "The desk had an error" in discord.said
    assert "Nothing was done." not in discord.said
    assert MESSAGE["body"] in discord.said
    assert row.state == "delivered"
    assert Email.objects.count() == 0
    assert [one.details["why"] for one in lines_of("command.failed")] == ["fault"]


def test_lost_answer_is_asked_for_again_with_the_same_key(desk, discord):
    lost = ("POST", "/send_email")
    desk.gateway.lost.add(lost)
    row = make_command("sendemail", **MESSAGE)
    assert run(row) == "postponed"
    desk.gateway.lost.clear()
    make_due(row)
    assert run(row) == "done"
    assert Email.objects.count() == 1

    desk.gateway.lost.add(lost)
    row = make_command("sendemail", **{**MESSAGE, "subject": "Silence"})
    run_to_the_end(row)
    assert "It is not known whether MultiMail accepted the message" in discord.said
    assert Email.objects.count() == 2


# --- in words


def test_reply_answers_what_came_in_and_inbox_lists_it(desk, discord):
    odd = make_command("reply", message_id="../../account", body="x")
    assert run(odd) == "refused"
    hostile = "@everyone **look** [here](https://evil.example) `x` \u202egpj.exe"
    came = make_inbound(desk.world, subject=hostile)
    run(make_command("checkinbox"))
    assert f"`{came.pk}`" in discord.said
    assert_is_text(discord.said, "@everyone", "**look**", "[here](", "\u202e")
    assert Email.objects.get(pk=came.pk).status == "unread"
    row = make_command("reply", message_id=f"`{came.pk}`", body="Soon.\\nAna")
    assert run(row) == "done"
    sent = Email.objects.exclude(pk=came.pk).get()
    assert sent.to == ["dana@northwind.example"]
    assert sent.markdown == "Soon.  \nAna"
    assert sent.thread_id == came.thread_id
    assert sent.metadata["discord_interaction_id"] == row.external_id
    assert CommandedMail.objects.get().upstream_id == sent.pk


def test_auditor_writes_nothing_and_nobody_acts_without_a_needed_factor_or_through_a_pause(
    desk, discord, auditor
):
    ChatAccount.objects.create(person=auditor, service="discord", account_id="2")
    assert run(make_command("checkinbox", user="2")) == "done"
    assert run(make_command("sendemail", user="2", **MESSAGE)) == "refused"
    assert "You may not use any mailbox" in discord.said
    assert run(make_command("sendemail", user="1", **MESSAGE)) == "refused"
    assert "is not linked to anyone at the desk" in discord.said
    assert not CommandedMail.objects.exists()
    asked = len(desk.gateway.calls)
    type(desk.connection).objects.update(paused_at=Now())
    for name, options in (("checkinbox", {}), ("sendemail", MESSAGE)):
        assert run(make_command(name, **options)) == "refused"
        assert "is paused" in discord.said
    type(desk.connection).objects.update(paused_at=None)
    RoleRule.objects.create(role="reviewer", needs_second_factor=True)
    assert run(make_command("checkinbox")) == "refused"
    assert "second factor" in discord.said
    assert len(desk.gateway.calls) == asked


def test_message_that_was_not_sent_is_returned_to_its_author(ana, discord, monkeypatch):
    for body in ("```\n@everyone **x**\n```", "\U0001f600" * 3000):
        options = rows_of(to="dana@northwind.example", subject="Hello", body=body)
        said = with_typed_text("Choose a mailbox.", json.dumps(options))
        typed = said.removeprefix("Choose a mailbox.\nYou typed:\n")
        assert typed.startswith("```\nto: dana@northwind.example\nsubject: Hello\n")
        inside = typed[4:-4].split("\n", 2)[2]
        assert "```" not in inside
        assert inside.rstrip("…") in body.replace("```", "'''")
        assert length(said) <= 2000
    # Every answer is cut to Discord's limit.
    monkeypatch.setitem(
        running.COMMANDS, "pending", lambda interaction: "\U0001f600" * 1000 + "x"
    )
    run(make_command("pending"))
    assert length(discord.said) <= 2000
    assert discord.said.endswith("\U0001f600…")


@pytest.mark.slow
def test_lists_show_what_this_person_may_see_and_end_with_a_whole_row(
    desk, discord, settings
):
    settings.PUBLIC_URL = f"https://{'desk.' * 24}yourteam.example"
    bo = make_person(
        "bo@yourteam.example", "Bo", "reviewer", connection=desk.connection
    )
    ChatAccount.objects.create(person=bo, service="discord", account_id="3")
    make_message(make_connection("other"), subject="Not yours")
    run(make_command("pending", user="3"))
    assert discord.said == "No messages that you may see are waiting for review."
    for number in range(8):
        make_message(
            desk.connection,
            subject=f"@here {number} {'[' * 500}",
            recipients=["*" * 300 + "@x.example"],
        )
    run(make_command("pending", user="3", mailbox=desk.world.mailbox.address))
    begin, *rows, more = discord.said.split("\n")
    assert "more" in more
    assert all(re.search(r">\) to \S+$", one) for one in rows)
    assert length(discord.said) <= 2000
    assert begin.startswith("8 wait for review")
    assert "Not yours" not in discord.said
    assert_is_text(discord.said, "@here")


# --- discord_register


def test_register_sets_all_commands_at_once_and_says_what_is_wrong_or_not_set(
    discord, settings
):
    def register(**options):
        out = io.StringIO()
        call_command("discord_register", stdout=out, **options)
        return out.getvalue()

    def error_of(**options):
        with pytest.raises(CommandError) as raised:
            register(**options)
        assert "bot.token" not in str(raised.value)
        return str(raised.value)

    register()
    register(guild="42")
    first, second = discord.calls
    assert first == (
        "PUT",
        f"/api/v10/applications/{APP}/commands",
        COMMANDS,
        "Bot bot.token",
    )
    assert second[1] == f"/api/v10/applications/{APP}/guilds/42/commands"

    assert "a number" in error_of(guild="x/../1")
    settings.DISCORD_BOT_TOKEN = ""
    assert "Set DISCORD_BOT_TOKEN" in error_of()
