"""Mentions in a chat: of exactly whom a message waits for, and of nobody else."""

import pytest
from django.db.models.functions import Now

from alerts.deliveries.planning import plan_waiting
from alerts.models import Delivery, Destination
from approvals.models import Snooze
from audit.models import Entry
from common.actors import worker
from mirror.recording import record_about
from people.models import ChatAccount, Grant, Person
from tests.alerting import work_to_the_end
from tests.factories import make_message
from tests.integration.deciding import decide
from tests.integration.test_notices import assign
from tests.integration.test_slack import make
from tests.slack import CHANNEL, TOKEN, slack

pytestmark = pytest.mark.usefixtures("plans_at_once")

HELD = ["message.held", "message.late"]
HOSTILE = "@everyone <@1> <@&2> <!channel> <@U012> [x](https://evil.example) `"
ANA = "4711"
VARIANTS = ("decided", "inactive", "unlinked", "muted")


@pytest.fixture
def linked(second_reviewer):
    ChatAccount.objects.create(
        person=second_reviewer, service="discord", account_id=ANA, name="@everyone"
    )
    return second_reviewer


def tell():
    plan_waiting()
    Delivery.objects.filter(state="due").update(next_attempt_at=Now())
    Destination.objects.update(waits_until=None)
    work_to_the_end()


def mentions(discord):
    """What each post mentions that is no card: its text, and who is notified."""
    return [
        (one["content"], one["allowed_mentions"])
        for one in discord.posts_in(1)
        if "content" in one
    ]


def late(message):
    record_about("message.late", message, actor=worker("approvals"), details={})


def test_discord_mentions_exactly_whom_a_message_waits_for(
    discord, connection, reviewer, linked
):
    discord.destination(1, actions=HELD, privacy="headers")
    message = make_message(connection, subject=HOSTILE)
    tell()
    assert mentions(discord) == []
    assign(message, linked, reviewer)
    tell()
    [(text, allowed)] = mentions(discord)
    assert text.startswith(f"<@{ANA}> Assigned to you: ")
    assert allowed == {"parse": [], "users": [ANA]}
    # Of what others wrote nothing is left that Discord reads as markup.
    for sign in ("<@1>", "<@&2>", "[x](", " @everyone"):
        assert sign not in text
    for card in discord.posts_in(1):
        assert card["allowed_mentions"]["parse"] == []
    # Once, however often it is planned.
    tell()
    assert len(mentions(discord)) == 1


@pytest.mark.parametrize(
    "gone",
    ["no role", *(pytest.param(one, marks=pytest.mark.slow) for one in VARIANTS)],
)
def test_nobody_is_mentioned_for_what_is_over_or_not_theirs(
    discord, connection, reviewer, linked, gone
):
    discord.destination(1, actions=HELD)
    message = make_message(connection)
    tell()
    assign(message, linked, reviewer)
    plan_waiting()
    if gone == "decided":
        decide(message, reviewer, "reject", "No")
    elif gone == "inactive":
        Person.objects.filter(pk=linked.pk).update(is_active=False)
    elif gone == "no role":
        Grant.objects.filter(person=linked).delete()
    elif gone == "unlinked":
        linked.chat_accounts.all().delete()
    else:
        Snooze.objects.create(message=message, person=linked, until="2100-01-01T00:00Z")
    tell()
    assert Delivery.objects.filter(kind="mention", state="delivered").count() == 1
    assert mentions(discord) == []
    # The ledger has the card alone.
    assert Entry.objects.of_action("alert.delivered").count() == 1


def test_late_message_mentions_the_role_of_the_destination(discord, connection):
    discord.destination(1, actions=HELD, mentions="99")
    message = make_message(connection)
    late(message)
    tell()
    [(text, allowed)] = mentions(discord)
    assert text.startswith("<@&99> ")
    assert allowed == {"parse": [], "roles": ["99"]}


@pytest.mark.slow
def test_slack_mentions_exactly_whom_a_message_waits_for(
    settings, connection, reviewer, second_reviewer
):
    ChatAccount.objects.create(
        person=second_reviewer, service="slack", account_id="T1:U0ANA", name="ana"
    )
    with slack() as standin:
        settings.OUTGOING_ALLOW = [standin.url]
        settings.SLACK_API_URL = standin.url
        make(standin, secret=TOKEN, channel=CHANNEL, mentions="S9")
        message = make_message(connection, subject=HOSTILE)
        assign(message, second_reviewer, reviewer)
        late(message)
        for _ in range(4):
            tell()
        named = [one["text"] for one in standin.posts.values() if "<" in one["text"]]
    assert sorted(text.partition(" ")[0] for text in named) == [
        "<!subteam^S9>",
        "<@U0ANA>",
    ]
    for text in named:
        # One mention, and one link to the desk.
        assert text.count("<") == 2
