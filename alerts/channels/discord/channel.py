"""Discord's two kinds, webhook and bot: their fields, and how a test is answered in
words.
"""

import re
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError

from alerts.cards.markup import Card
from alerts.channels.base import CardChannel, FormField, Posted
from alerts.channels.discord.commands.run import arrived_mail, note_proofs
from alerts.channels.discord.embeds import buttons, embed, payload, shortened
from alerts.channels.discord.interactions import forget_answers, old_answers
from alerts.channels.discord.markdown import MARKDOWN
from alerts.channels.discord.replies import due_interactions, enqueue_due
from alerts.channels.discord.transport import (
    HOSTS,
    masked_webhook,
    speak,
    webhook_error,
)
from alerts.models import Destination
from common.sweeps import Duty, duty
from outgoing.guarded import TOTAL_TIMEOUT

# A channel's id, or its address, which ends with it.
_CHANNEL = re.compile(
    r"(?:https://(?:\w+\.)?discord(?:app)?\.com/channels/[0-9]+/)?(?P<id>[0-9]{1,20})/?",
    re.ASCII,
)
_CHANNEL_HINT = (
    "In Discord, turn on Developer Mode, right-click or long-press the channel, and "
    "choose “Copy Channel ID”."
)


class _Discord(CardChannel):
    service = "Discord"
    hosts = HOSTS
    markup = MARKDOWN
    when_accepted = "Discord accepted the test. Check the channel."
    answers_with_id = True
    answers_commands = True
    when_late = when_unreachable = (
        "Check that this server can reach discord.com on port 443, then test again."
    )

    def body(self, card: Card) -> dict[str, Any]:
        return payload(embed(card))

    shorten = staticmethod(shortened)

    def post(
        self,
        destination: Destination,
        body: dict[str, Any],
        *,
        limit: float = TOTAL_TIMEOUT,
    ) -> Posted:
        return speak(destination, "POST", body, limit=limit)

    def edit(
        self, destination: Destination, message_id: str, body: dict[str, Any]
    ) -> Posted:
        return speak(destination, "PATCH", body, message_id=message_id)

    def command_channel(self, typed: str) -> str:
        """Return its id where its address was typed, or its name without the # before
        it.
        """
        typed = typed.strip(" #")
        found = _CHANNEL.fullmatch(typed)
        return found["id"] if found else typed


class DiscordWebhook(_Discord):
    """Cards with links. Discord would report presses on what a webhook posted to
    nobody, so it has no buttons.
    """

    kind = "discord_webhook"
    label = "Discord webhook"
    summary = "Cards with links. Needs a webhook address."
    keeps_heads = True
    fields = (
        FormField(
            "url",
            "Address of the Discord webhook",
            "In Discord: the channel's settings, Integrations, Webhooks, New Webhook, Copy Webhook URL.",
            required="Enter the address of the webhook.",
            is_secret=True,
        ),
    )
    refusals = {
        400: "Discord did not accept the message. Check that the webhook belongs to a text channel; for a forum, add "
        "?thread_id= with a number to the address.",
        401: "Discord does not accept the token in the address. Copy the whole address again.",
        403: "Discord does not let this webhook post. Check the channel's settings under Integrations, or create a new "
        "one.",
        404: "Discord does not know this webhook: it was deleted, or the address is incomplete. Copy it again, or "
        "create a new one in the channel's settings, Integrations, Webhooks.",
    }

    def lines_body(self, lines: tuple[str, ...]) -> dict[str, Any]:
        return {
            "content": "\n".join([MARKDOWN.bold(lines[0]), *lines[1:]]),
            "allowed_mentions": {"parse": []},
        }

    url_error = staticmethod(webhook_error)

    def address(self, destination: Destination) -> str:
        return masked_webhook(destination.url)


class DiscordBot(_Discord):
    """Cards with buttons, posted by the bot of the operator's own application."""

    kind = "discord_bot"
    label = "Discord channel, by the bot"
    urls = "alerts.channels.discord.interactions"
    fields = (
        FormField(
            "channel",
            "Id of the channel, for the bot",
            "In Discord, with Developer Mode on: the channel, Copy Channel ID.",
            required=f"Enter the channel id. {_CHANNEL_HINT}",
            max_length=200,
            too_long="This is too long for a channel id.",
        ),
    )
    refusals = {
        400: "Discord did not accept the message. Check that the channel is a text channel.",
        401: "Discord does not accept the bot's token. Check DISCORD_BOT_TOKEN: the token was reset, or is incomplete.",
        403: "Discord does not let the bot post there. Give it View Channel, Send Messages and Embed Links there.",
        404: "Discord does not know this channel, or the bot is not on its server. Copy the channel id again and "
        "invite the bot.",
    }

    @property
    def summary(self) -> str:  # type: ignore[override]
        """What it posts and needs, and what an operator has to set first."""
        first = ""
        if self.not_ready:
            first = (
                ", and DISCORD_BOT_TOKEN, which is not set: an operator sets it first"
            )
        return f"Cards with buttons. Needs the channel id{first}."

    @property
    def not_ready(self) -> str:
        if settings.DISCORD_BOT_TOKEN:
            return ""
        return "DISCORD_BOT_TOKEN is not set, so the bot cannot post."

    def body(self, card: Card) -> dict[str, Any]:
        return payload(embed(card), buttons(card) if card.message else None)

    def clean_field(self, name: str, value: str) -> str:
        if found := _CHANNEL.fullmatch(value):
            return found["id"]
        raise ValidationError(
            f"This is not a channel id, which has only digits. {_CHANNEL_HINT}"
        )

    def address(self, destination: Destination) -> str:
        return f"channel {destination.channel}"

    def duties(self) -> Mapping[str, Duty]:
        return {
            "proofs": duty(arrived_mail, lambda _: note_proofs()),
            "interactions": duty(due_interactions, lambda _: enqueue_due()),
            "answers": duty(
                lambda: old_answers().order_by("created_at"), lambda _: forget_answers()
            ),
        }
