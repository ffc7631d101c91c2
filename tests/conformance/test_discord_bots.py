"""The Discord bots of the documentation, unchanged, with real discord.py and
discord.js, against the gateway.
"""

import contextlib
import shutil
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.conformance import discord_standin, recipes
from tests.conformance.discord_standin import (
    CHANNEL,
    DEFERRED,
    EPHEMERAL,
    MEMBER,
    Discord,
)
from tests.conformance.recipes import RECIPES
from tests.faults import wire
from tests.faults.proxy import OTHER, Proxy

HERE = Path(__file__).parent


@dataclass
class Bot:
    """A running bot, its stand-in for Discord, and the proxy to the gateway."""

    language: str
    discord: Discord
    gateway: Proxy
    log: Path


@pytest.fixture(
    scope="module",
    params=["python", pytest.param("javascript", marks=pytest.mark.slow)],
)
def bot(request, product, tmp_path_factory):
    """A bot of the documentation, logged in."""
    log = tmp_path_factory.mktemp("bot") / "bot.log"
    with (
        discord_standin.discord() as discord,
        contextlib.closing(Proxy()) as gateway,
    ):
        gateway.serve(product.known["GATEWAY_URL"])
        if request.param == "python":
            command = _python(discord)
            more = {}
        else:
            command, more = _javascript(
                discord, Path(request.config.cache.mkdir("discord-js"))
            )
        variables = {"DISCORD_TOKEN": discord_standin.TOKEN, "GATEWAY_URL": gateway.url}
        env = recipes.environment(
            product, "AGENT_KEY", "MAILBOX_ADDRESS", **variables, **more
        )
        with recipes.running(command, env=env, log=log):
            running = Bot(request.param, discord, gateway, log)
            _wait(product, running, discord.is_ready, "the bot to log in")
            yield running


def _python(discord):
    return [
        sys.executable,
        str(HERE / "discord_py_runner.py"),
        discord.url,
        str(RECIPES / "discord_bot.py"),
    ]


def _javascript(discord, folder):
    """Install the bot as a developer would: in a folder with the dependencies of its
    package.json.
    """
    recipes.needs_node()
    for name in ("package.json", "package-lock.json", "discord_bot.mjs"):
        shutil.copy(RECIPES / name, folder)
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
    wanted = (RECIPES / "package-lock.json").read_text()
    recipes.install(folder, wanted, ["npm", "ci", *options])
    preload = str(HERE / "discord_js_preload.cjs")
    command = ["node", "--require", preload, str(folder / "discord_bot.mjs")]
    return command, {"STANDIN_URL": discord.url, "STANDIN_BOT_FOLDER": str(folder)}


def _wait(product, bot, function, what):
    try:
        return product.wait_for(function, timeout=60, what=what)
    except BaseException:
        print(bot.log.read_text())
        raise


def answered(product, bot, interaction):
    """Return the answer that the user reads, and check that the bot obeys Discord's
    rules.
    """
    final = partial(bot.discord.final_message, interaction)
    reply = _wait(product, bot, final, "an answer to the slash command")
    first = bot.discord.first_answer(interaction)
    assert first["type"] == DEFERRED
    assert first["data"]["flags"] == EPHEMERAL
    assert reply["allowed_mentions"]["parse"] == []
    return reply


def newest(product, **wanted):
    """The newest message of the mailbox, as an agent reads it."""
    path = f"/v1/mailboxes/{product.known['MAILBOX_ID']}/emails"
    row = product.call("GET", path, params={"limit": "1", **wanted}).json()["emails"][0]
    return product.call("GET", f"{path}/{row['id']}").json()


def subjects(product, subject):
    path = f"/v1/mailboxes/{product.known['MAILBOX_ID']}/emails"
    return product.call("GET", path, params={"subject_contains": subject}).json()[
        "emails"
    ]


def send(bot, subject):
    return bot.discord.slash(
        "sendemail", to="dana@northwind.example", subject=subject, body="Hello **Dana**"
    )


def test_sendemail_is_held_and_the_user_is_asked_not_to_repeat(product, bot):
    interaction = send(bot, f"Slash {bot.language}")
    reply = answered(product, bot, interaction)
    message = newest(product)
    assert message["status"] == "pending_send_approval"
    assert message["subject"] == f"Slash {bot.language}"
    assert message["markdown"] == "Hello **Dana**"
    assert message["metadata"] == {
        "discord_user": "ana",
        "discord_user_id": MEMBER,
        "discord_channel": CHANNEL,
        "discord_channel_name": "outreach",
        "discord_guild": "Acme",
        "discord_interaction_id": interaction,
    }
    assert "Held for review" in reply["content"]
    assert message["id"] in reply["content"]


@pytest.mark.slow
def test_sendemail_whose_answer_is_spoilt_makes_one_message(product, bot):
    busy = wire.answering(429, Retry_After="0")
    for word, fault in (("lost", wire.lose_answer), ("busy", busy)):
        subject = f"Answer {word} {bot.language}"
        with bot.gateway.fault(fault, OTHER, times=1) as rule:
            reply = answered(product, bot, send(bot, subject))
        assert rule.met
        assert "Held for review" in reply["content"]
        assert len(subjects(product, subject)) == 1


def test_unread_mail_is_shown_with_the_line_that_answers_it(product, bot):
    received = recipes.receive(
        product, f"Where is *my* order, {bot.language}? @everyone"
    )
    content = answered(product, bot, bot.discord.slash("checkinbox"))["content"]
    shown, line = content.splitlines()[:2]
    assert (
        shown
        == f"Where is \\*my\\* order, {bot.language}? @everyone · dana@northwind.example"
    )
    assert received["thread_id"] in line
    message_id = bot.discord.write(
        line.strip("`").replace("your answer", "It comes today.")
    )
    _wait(
        product, bot, lambda: bot.discord.answers_to(message_id), "an answer to !reply"
    )
    reply = newest(product, direction="outbound")
    assert reply["thread_id"] == received["thread_id"]
    assert reply["markdown"] == "It comes today."
    unread = product.call(
        "GET", "/v1/check_inbox", params={"mailbox": product.known["MAILBOX_ADDRESS"]}
    ).json()
    assert received["id"] in [row["id"] for row in unread["emails"]]
