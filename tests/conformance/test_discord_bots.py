"""The Discord bots of the documentation, unchanged, with real discord.py and
discord.js, against the gateway.
"""

import fcntl
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance import between, discord_standin, recipes
from tests.conformance.discord_standin import (
    DEFERRED,
    EPHEMERAL,
    GUEST,
    MEMBER,
    Discord,
)
from tests.conformance.recipes import RECIPES

HERE = Path(__file__).parent
INSTALL_SECONDS = 60


@dataclass
class Bot:
    """A running bot, its stand-in for Discord, and the proxy to the gateway."""

    language: str
    discord: Discord
    gateway: between.Between
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
        between.between(product.known["GATEWAY_URL"]) as gateway,
    ):
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
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("The JavaScript bot needs node and npm, and this machine has none.")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(folder)
        shutil.copy(RECIPES / "discord_bot.mjs", folder)
    command = [
        "node",
        "--require",
        str(HERE / "discord_js_preload.cjs"),
        str(folder / "discord_bot.mjs"),
    ]
    return command, {"STANDIN_URL": discord.url, "STANDIN_BOT_FOLDER": str(folder)}


def _install(folder):
    """Fetch discord.js once; later runs find it in pytest's cache."""
    lock = (RECIPES / "package-lock.json").read_bytes()
    installed = folder / "installed-lock.json"
    if installed.exists() and installed.read_bytes() == lock:
        return
    for name in ("package.json", "package-lock.json"):
        shutil.copy(RECIPES / name, folder)
    options = [
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--fetch-retries=1",
        "--fetch-timeout=20000",
    ]
    try:
        ran = subprocess.run(
            ["npm", "ci", *options],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not fetch discord.js in time: no network?")
    if ran.returncode:
        assert "EINTEGRITY" not in ran.stderr
        assert "EUSAGE" not in ran.stderr, "package-lock.json does not fit package.json"
        pytest.skip(
            f"npm cannot fetch discord.js: {ran.stderr.strip().splitlines()[:2]}"
        )
    installed.write_bytes(lock)


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
    reply = _wait(
        product, bot, interaction.final_message, "an answer to the slash command"
    )
    first = interaction.callback()
    assert first.body["type"] == DEFERRED
    assert first.body["data"]["flags"] == EPHEMERAL
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


def test_bot_registers_its_commands_for_those_who_may_manage_messages(bot):
    commands = {command["name"]: command for command in bot.discord.commands()}
    assert commands.keys() == {"sendemail", "checkinbox"}
    assert [option["name"] for option in commands["sendemail"]["options"]] == [
        "to",
        "subject",
        "body",
    ]
    assert all(option["required"] for option in commands["sendemail"]["options"])
    assert {
        str(command["default_member_permissions"]) for command in commands.values()
    } == {"8192"}


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
        "discord_channel": "outreach",
        "discord_guild": "Acme",
        "discord_interaction_id": interaction.id,
    }
    assert "Held for review" in reply["content"]
    assert message["id"] in reply["content"]


def test_sendemail_whose_answer_is_spoilt_makes_one_message(product, bot):
    for fault in (between.LOST, between.BUSY):
        bot.gateway.faults.append(fault)
        subject = f"Spoilt {fault} {bot.language}"
        reply = answered(product, bot, send(bot, subject))
        assert not bot.gateway.faults
        assert "Held for review" in reply["content"]
        assert len(subjects(product, subject)) == 1


@pytest.mark.slow
def test_refusal_is_shown_and_not_waited_for_until_tomorrow(product, bot):
    interaction = bot.discord.slash("sendemail", to="dana", subject="x", body="x")
    assert answered(product, bot, interaction)["content"].startswith("Not sent: to")
    bot.gateway.faults.append(between.USED_UP)
    subject = f"Used up {bot.language}"
    assert (
        answered(product, bot, send(bot, subject))["content"] == "Not sent: Too much."
    )
    assert subjects(product, subject) == []


@pytest.mark.slow
def test_bot_outlives_an_interaction_that_discord_has_forgotten(product, bot):
    bot.discord.forgets_next = True
    forgotten = send(bot, f"Forgotten {bot.language}")
    _wait(product, bot, forgotten.callback, "the first answer")
    answered(product, bot, send(bot, f"Remembered {bot.language}"))
    assert forgotten.final_message() is None
    assert subjects(product, f"Forgotten {bot.language}") == []


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
    assert reply["to"] == ["dana@northwind.example"]
    assert reply["thread_id"] == received["thread_id"]
    assert reply["markdown"] == "It comes today."
    unread = product.call(
        "GET", "/v1/check_inbox", params={"mailbox": product.known["MAILBOX_ADDRESS"]}
    ).json()
    assert received["id"] in [row["id"] for row in unread["emails"]]


@pytest.mark.slow
def test_reply_is_held_in_its_thread(product, bot):
    answered(product, bot, send(bot, f"Asked {bot.language}"))
    asked = newest(product)
    message_id = bot.discord.write(
        f"!reply {asked['thread_id']} It is on its way.\nAna"
    )
    (answer,) = _wait(
        product, bot, lambda: bot.discord.answers_to(message_id), "an answer to !reply"
    )
    reply = newest(product)
    assert reply["thread_id"] == asked["thread_id"]
    assert reply["id"] != asked["id"]
    assert reply["markdown"] == "It is on its way.\nAna"
    assert reply["status"] == "pending_send_approval"
    assert reply["metadata"]["discord_user_id"] == MEMBER
    assert reply["metadata"]["discord_channel"] == "outreach"
    assert "Held for review" in answer["content"]
    assert answer["allowed_mentions"]["parse"] == []
    assert not answer["allowed_mentions"].get("replied_user")


@pytest.mark.slow
def test_reply_without_a_text_is_explained_and_one_of_somebody_without_the_right_ignored(
    product, bot
):
    ignored = bot.discord.write("!reply", author=GUEST)
    # Messages are handled in order: when the second is answered, the first has been
    # skipped.
    heard = bot.discord.write("!reply")
    (reply,) = _wait(
        product, bot, lambda: bot.discord.answers_to(heard), "an answer to !reply"
    )
    assert reply["content"].startswith("Write `!reply")
    assert bot.discord.answers_to(ignored) == []
