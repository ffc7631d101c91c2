"""Commands on Discord: through the real gateway, and answered to a stand-in for
Discord.
"""

import contextlib
import itertools
import json
import re
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from alerts.channels.discord import commands as running
from alerts.channels.discord import replies
from alerts.channels.interactions import answer_interaction
from alerts.deliveries.drain import sweep
from alerts.models import Interaction
from approvals.errors import VerdictNotAllowed
from approvals.message_page.side_panel import origin_of
from approvals.models import CommandedMail, Passage
from approvals.tasks import read_connection
from audit.models import Entry
from audit.trail import lines
from audit.trail.answers import message_origin
from gateway.models import Email
from mirror.models import Connection, Message
from people.models import ChatAccount, Grant, RoleRule
from tests.answering import discord as standin
from tests.factories import actor_of, change_row, make_connection
from tests.integration.deciding import decide
from tests.integration.gateway.world import make_inbound
from tests.integration.test_interactions import application, sent  # noqa: F401 -- a fixture
from tests.ledger import lines_of

pytestmark = pytest.mark.usefixtures("plans_at_once")

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


def command(name, user=ANA, **options):
    """Give a command as Discord does, signed, and return its row, which is due."""
    number = str(next(NUMBERS))
    body = {
        "type": 2, "id": number, "application_id": APP, "token": TOKEN, "channel_id": "4711", "guild_id": "42",
        "channel": {"id": "4711", "name": "outreach"}, "member": {"user": {"id": user, "username": "ana"}},
        "data": {"name": name, "options": [{"name": key, "type": 3, "value": options[key]} for key in options]},
    }  # fmt: skip
    for _ in range(2):
        assert sent(body).json() == {"type": 5, "data": {"flags": 64}}
    return Interaction.objects.get(external_id=number)


def run(row):
    change_row(row, next_attempt_at=Now())
    outcome = answer_interaction(interaction_id=row.pk)
    row.refresh_from_db()
    return outcome


def words(discord):
    """Return the last answer without the backslashes that escape it."""
    return discord.said.replace("\\", "")


def assert_is_text(text, *live):
    """Assert that none of it is markup on Discord: it is escaped."""
    for one in live:
        assert not re.search(rf"(?<!\\){re.escape(one)}", text), text


def test_signed_command_sends_one_message_that_its_sender_may_not_approve(
    desk, discord, ana, second_reviewer
):
    to = '"Reyes, Dana" <dana@northwind.example>'
    row = command("sendemail", **MESSAGE | {"to": to})
    assert run(row) == "done"
    assert run(row) == "not due"
    email = Email.objects.get()
    assert email.to == ["dana@northwind.example"]
    said = {
        "discord_user": "ana", "discord_user_id": ANA, "discord_channel": "outreach", "discord_channel_id": "4711",
        "discord_guild": "42", "discord_interaction_id": row.external_id,
    }  # fmt: skip
    assert email.metadata == said
    assert "waits for review" in discord.said
    assert email.pk in words(discord)
    assert row.token == row.options == ""
    [entry] = lines_of("command.given")
    assert entry.actor_kind == "person"
    assert "on its way" not in str(entry.details)
    assert Passage.objects.filter(person=ana).exists(), "words of their own"
    # Somebody else's message that names the same interaction proves nothing.
    lie = {**MESSAGE, "subject": "Lie", "markdown": "x", "metadata": said}
    lie = {**lie, "to": ["eve@example.net"]}
    del lie["body"]
    path = f"/v1/mailboxes/{desk.world.mailbox.pk}/send"
    desk.ask("POST", path, key="agent", json=lie)
    read_connection.run(desk.connection.pk)
    for _ in range(2):
        sweep()
    assert len(lines_of("message.commanded")) == 1
    facts = {}
    for message in Message.objects.all():
        history = lines(Entry.objects.of_message(message.public_id).oldest_first())
        facts[message.subject] = {
            status
            for name, _, status in message_origin(history)["facts"]
            if name != "API key"
        }
        is_verified = origin_of(message, actor=actor_of(ana))["is_verified"]
        assert is_verified is (message.subject == "Your refund")
    assert facts["Your refund"] - {""} == {"proved"}
    assert "proved" not in facts["Lie"]
    message = Message.objects.get(subject="Your refund")
    # The author is known even if the trigger is lost.
    for trigger in (message.trigger, {}):
        change_row(message, trigger=trigger)
        with pytest.raises(VerdictNotAllowed, match="You started this message"):
            decide(message, ana)
    assert decide(message, second_reviewer).decision


def test_worker_that_dies_sends_no_second_message(desk, discord, monkeypatch):
    def die(*_, **__):
        raise SystemExit

    def send_and_die(connection, call):
        call(without=())
        raise SystemExit

    for number, (where, how, dies) in enumerate(
        [
            (running, "without_refused", send_and_die),
            (running, "Reply", die),
            (replies, "call_discord", die),
        ]
    ):
        row = command("sendemail", **{**MESSAGE, "subject": f"Letter {number}"})
        answered = len(discord.calls)
        with monkeypatch.context() as patched, contextlib.suppress(SystemExit):
            patched.setattr(where, how, dies)
            run(row)
        assert Email.objects.count() == number + 1, how
        assert len(discord.calls) == answered, how
        assert answer_interaction(interaction_id=row.pk) == "not due", how
        change_row(row, lease_until=Now() - timedelta(seconds=1))
        assert run(row) == "done", how
        assert Email.objects.count() == number + 1, how
        assert len(lines_of("command.given")) == number + 1, how
        assert "waits for review" in discord.said, how


def test_unknown_outcome_is_told_after_repeats_with_the_same_key(desk, discord, ana):
    lost = ("POST", "/send_email")
    desk.gateway.lost.add(lost)
    row = command("sendemail", **MESSAGE)
    assert run(row) == "postponed"
    desk.gateway.lost.clear()
    assert run(row) == "done"
    assert Email.objects.count() == 1

    desk.gateway.lost.add(lost)
    row = command("sendemail", **{**MESSAGE, "subject": "Silence"})
    assert [run(row) for _ in range(2)] == ["postponed", "refused"]
    assert running.NOT_KNOWN in words(discord)
    assert Email.objects.count() == 2
    # A refusal after a lost answer does not say that nothing was sent.
    row = command("sendemail", **{**MESSAGE, "subject": "Left before"})
    assert run(row) == "postponed"
    grants = list(ana.grants.all())
    ana.grants.all().delete()
    assert run(row) == "refused"
    assert running.NOT_KNOWN in words(discord)
    Grant.objects.bulk_create(grants)
    # Nothing was sent where the host was not reached.
    desk.gateway.lost.clear()
    Connection.objects.update(api_url="http://127.0.0.1:1")
    row = command("sendemail", **MESSAGE)
    assert [run(row) for _ in range(2)] == ["postponed", "refused"]
    assert running.NOT_SENT in words(discord)
    assert running.NOT_KNOWN not in words(discord)


def test_refusal_repeats_what_was_typed_and_shows_the_words_of_others_as_text(
    desk, discord
):
    error = {"error": "no, @everyone **must** [see](https://evil.example)"}
    spoiled = (422, json.dumps(error).encode())
    desk.gateway.spoiled[("POST", "/send_email")] = spoiled
    for body in ("```\n@everyone **x**\n```", "\U0001f600" * 3000):
        assert run(command("sendemail", **{**MESSAGE, "body": body})) == "refused"
        refusal, typed = discord.said.split("\nYou typed:\n")
        assert running.NOT_SENT in refusal.replace("\\", "")
        assert_is_text(refusal, "@everyone", "**must**", "[see](")
        assert typed.startswith(
            "```\nto: dana@northwind.example\nsubject: Your refund\n"
        )
        inside = typed[4:-4].split("\nbody: ", 1)[1]
        assert "```" not in inside
        assert inside.rstrip("…") in body.replace("```", "'''")
        assert len(discord.said.encode("utf-16-le")) <= 4000
    refusals = lines_of("interaction.refused")
    assert [one.details["outcome"] for one in refusals] == ["sendemail"] * 2
    assert "It is on its way" not in str([one.details for one in refusals])


def test_reply_answers_what_came_in_and_inbox_lists_it(desk, discord):
    odd = command("reply", message_id="../../account", body="x")
    assert run(odd) == "refused"
    assert "not an id from /checkinbox" in words(discord)
    hostile = "@everyone **look** [here](https://evil.example) `x` \u202egpj.exe"
    came = make_inbound(desk.world, subject=hostile)
    assert run(command("checkinbox")) == "done"
    assert came.pk in words(discord)
    assert_is_text(discord.said, "@everyone", "**look**", "[here](", "\u202e")
    assert Email.objects.get(pk=came.pk).status == "unread"
    row = command("reply", message_id=came.pk, body="Soon.\\nAna")
    assert run(row) == "done"
    reply = Email.objects.exclude(pk=came.pk).get()
    assert reply.to == ["dana@northwind.example"]
    assert reply.markdown == "Soon.  \nAna"
    assert reply.thread_id == came.thread_id
    assert reply.metadata["discord_interaction_id"] == row.external_id
    assert CommandedMail.objects.get().upstream_id == reply.pk


def test_who_may_not_write_sends_nothing(desk, discord, auditor):
    ChatAccount.objects.create(person=auditor, service="discord", account_id="2")
    assert run(command("checkinbox", user="2")) == "done"
    assert run(command("sendemail", user="2", **MESSAGE)) == "refused"
    assert "No mailbox that you may use" in discord.said
    assert run(command("sendemail", user="1", **MESSAGE)) == "not linked"
    assert "is not linked to anyone at the desk" in discord.said
    assert MESSAGE["body"] in discord.said
    asked = len(desk.gateway.calls)
    Connection.objects.update(paused_at=Now())
    for name, options in (("checkinbox", {}), ("sendemail", MESSAGE)):
        assert run(command(name, **options)) == "refused"
        assert "No mailbox that you may use" in discord.said
    Connection.objects.update(paused_at=None)
    RoleRule.objects.create(role="reviewer", needs_second_factor=True)
    assert run(command("sendemail", **MESSAGE)) == "second factor"
    assert len(desk.gateway.calls) == asked
    assert not CommandedMail.objects.exists()


def test_one_of_several_mailboxes_is_chosen_by_typing_its_address(desk, discord):
    other = make_connection("other")
    change_row(other, agent_key="mm_live_agent", api_url="http://127.0.0.1:1")
    assert run(command("sendemail", **MESSAGE)) == "refused"
    names = words(discord).partition("\n")[0]
    assert "other/support@yourteam.example" in names
    assert run(command("sendemail", **MESSAGE, mailbox="nobody@x.example")) == "refused"
    mine = f"{desk.connection.slug}/{desk.world.mailbox.address}"
    assert run(command("sendemail", **MESSAGE, mailbox=mine)) == "done"
    assert Email.objects.count() == 1
