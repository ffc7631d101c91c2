"""A Discord bot that sends and reads mail through the gateway: /sendemail, /checkinbox
and !reply.

Needs discord.py (pip install discord.py==2.7.1) and these variables: DISCORD_TOKEN,
GATEWAY_URL, AGENT_KEY (scopes read and send) and MAILBOX_ADDRESS. !reply reads what
people write: switch "Message Content Intent" on in Discord's developer portal.
"""

import asyncio
import os
from typing import Any

import aiohttp
import discord
from discord import app_commands

GATEWAY_URL = os.environ["GATEWAY_URL"]
AGENT_KEY = os.environ["AGENT_KEY"]
MAILBOX = os.environ["MAILBOX_ADDRESS"]
LONGEST_WAIT = 60  # seconds; an interaction can be answered for 15 minutes


class MailBot(discord.Client):
    """Registers the commands when it starts."""

    def __init__(self) -> None:
        intents = discord.Intents.default()
        intents.message_content = True
        # Nothing that a letter says may ping anybody.
        super().__init__(
            intents=intents, allowed_mentions=discord.AllowedMentions.none()
        )
        self.tree = app_commands.CommandTree(self)

    async def setup_hook(self) -> None:
        await self.tree.sync()


bot = MailBot()


async def call(method: str, path: str, **options: Any) -> dict[str, Any]:
    """Call the gateway. Repeats when it is asked to wait or hears nothing: the
    idempotency key makes that safe.
    """
    headers = {"Authorization": f"Bearer {AGENT_KEY}"}
    async with aiohttp.ClientSession(
        GATEWAY_URL, headers=headers, timeout=aiohttp.ClientTimeout(total=30)
    ) as gateway:
        for attempt in range(5):
            wait = 2**attempt
            try:
                async with gateway.request(method, path, **options) as response:
                    wait = int(response.headers.get("Retry-After", wait))
                    if response.status < 500 and (
                        response.status != 429 or wait > LONGEST_WAIT
                    ):
                        return await response.json()
            except (aiohttp.ClientError, TimeoutError) as error:
                print(f"gateway: {error!r}")
            await asyncio.sleep(wait)
    return {
        "error": "The gateway does not answer. Whether the message was taken is not known."
    }


def told(answer: dict[str, Any]) -> str:
    """What the user is told. Held is an answer, not an error: never send again because
    of it.
    """
    if "error" in answer:
        # The gateway's own errors have a code. Without one, nobody knows.
        return f"Not sent: {answer['error']}" if "code" in answer else answer["error"]
    if answer["oversight_status"] == "pending_approval":
        return f"Held for review, a person decides. Do not send it again. Message `{answer['message_id']}`."
    return f"On its way. Message `{answer['message_id']}`."


def origin(
    user: discord.abc.User, channel: Any, guild: discord.Guild | None
) -> dict[str, str]:
    """Who asked, and where: reviewers see it beside the message."""
    return {
        "discord_user": str(user),
        "discord_user_id": str(user.id),
        "discord_channel": str(channel.id),
        "discord_channel_name": str(channel),
        "discord_guild": str(guild),
    }


@bot.tree.command(description="Send an email; a person reviews it first")
@app_commands.describe(
    to="Address of the recipient", subject="Subject", body="Text, as Markdown"
)
@app_commands.guild_only()
@app_commands.default_permissions(manage_messages=True)
async def sendemail(
    interaction: discord.Interaction, to: str, subject: str, body: str
) -> None:
    # Discord waits three seconds for a first answer, and this is it.
    await interaction.response.defer(ephemeral=True)
    metadata = origin(interaction.user, interaction.channel, interaction.guild)
    letter = {
        "from": MAILBOX,
        "to": to,
        "subject": subject,
        "body": body,
        "metadata": metadata | {"discord_interaction_id": str(interaction.id)},
        # One interaction makes one message, however often this is called.
        "idempotency_key": f"discord-{interaction.id}",
    }
    answer = await call("POST", "/v1/send_email", json=letter)
    await interaction.edit_original_response(content=told(answer))


@bot.tree.command(description="Show unread mail")
@app_commands.guild_only()
@app_commands.default_permissions(manage_messages=True)
async def checkinbox(interaction: discord.Interaction) -> None:
    await interaction.response.defer(ephemeral=True)
    answer = await call(
        "GET", "/v1/check_inbox", params={"mailbox": MAILBOX, "limit": "5"}
    )
    if "error" in answer:
        content = f"The inbox cannot be read: {answer['error']}"
    else:
        rows = [
            f"{discord.utils.escape_markdown(mail['subject'][:100] or '(no subject)')}"
            f" · {discord.utils.escape_markdown(mail['from'])}\n`!reply {mail['thread_id']} your answer`"
            for mail in answer["emails"]
        ]
        content = "\n".join(rows) or "No unread mail."
    await interaction.edit_original_response(content=content[:2000])


@bot.event
async def on_message(message: discord.Message) -> None:
    if message.author.bot or not message.content.startswith("!reply"):
        return
    # Slash commands carry Discord's own check of permissions; a message does not.
    if (
        not isinstance(message.author, discord.Member)
        or not message.author.guild_permissions.manage_messages
    ):
        return
    parts = message.content.split(maxsplit=2)
    if len(parts) < 3:
        await message.reply(
            "Write `!reply <thread> <text>`; /checkinbox shows the threads."
        )
        return
    reply = {
        "thread_id": parts[1],
        "body": parts[2],
        "metadata": origin(message.author, message.channel, message.guild),
        "idempotency_key": f"discord-{message.id}",
    }
    answer = await call("POST", "/v1/reply_email", json=reply)
    await message.reply(told(answer))


bot.run(os.environ["DISCORD_TOKEN"])
