"""The two kinds of destinations at Discord, webhook and bot: the fields in their form,
how they post and edit cards, and what Discord's answers mean.

No sentence and no log contains the token in a webhook's
address or the bot's token.
"""

import json
import re
import time
from abc import abstractmethod
from hashlib import sha256

from django.conf import settings
from django.core.cache import caches

from alerts.cards.markup import Card
from alerts.channels.base import ChatChannel, FormField, Posted, Reply
from alerts.channels.discord.commands import COMMANDS, run_command, with_typed_text
from alerts.channels.discord.embeds import MARKDOWN, buttons, embed, payload
from alerts.channels.discord.replies import edit_answer, private, reason_form
from alerts.channels.requests import (
    CardFixed,
    CardGone,
    DestinationGone,
    Json,
    RetryLater,
    failure,
    json_object,
    redacted,
    send,
)
from alerts.models import Destination, Interaction
from common.exchange import Answer, seconds_asked
from common.unique_keys import text_in
from people.models import ChatService

HOSTS = ("discord.com", "discordapp.com", "ptb.discord.com", "canary.discord.com")
# Discord takes so many requests in so many seconds, and says so in no header.
REQUESTS = 30
SECONDS = 60.0
# Discord's error code for a message that does not exist any more.
UNKNOWN_MESSAGE = 10008
# Its codes for a message that is there and cannot be edited: it is in a closed thread,
# was posted by another bot, or is old and was edited too often.
CLOSED = (50083, 160005)
FIXED = (*CLOSED, 50005, 30046)
# A refusal of this server or program, before Discord looked at the request. A proxy's
# refusal has no code.
NOT_DISCORD = (None, 40333)
# The channel takes no such posts: a forum without a thread, or no text channel.
NOT_HERE = (220001, 50008, 50024)
_LOGGED_HEADERS = """
Retry-After X-RateLimit-Global X-RateLimit-Scope X-RateLimit-Remaining Via
""".split()
_ID = re.compile(r"[0-9]{1,32}")
# A channel's id, or its address, which ends with it.
_ADDRESS = r"(?:https://(?:\w+\.)?discord(?:app)?\.com/channels/[0-9]+/)?"
_CHANNEL = re.compile(f"{_ADDRESS}([0-9]{{1,20}})/?", re.ASCII)
_CHANNEL_HINT = (
    "In Discord, turn on Developer Mode, right-click or long-press the channel, and "
    "choose “Copy Channel ID”."
)


MENTIONS = FormField(
    "mentions",
    "Role to mention when a message is late",
    "In Discord, with Developer Mode on: Server Settings, Roles, Copy Role ID. Only a step of a review plan uses it.",
    max_length=32,
    too_long="This is too long for the id of a role.",
    pattern=re.compile("([0-9]{1,20})"),
    invalid="This is not the id of a role, which has only digits.",
)
ANSWERS = FormField(
    "answers_channel",
    "Answers commands in the channel",
    "Its id or name. What becomes of mail that a command there started is posted here: approval, rejection, "
    "delivery, bounce. Empty: nothing.",
    max_length=100,
    too_long="Keep the channel under 100 characters.",
    pattern=re.compile(f"{_ADDRESS}(.*?)/?", re.ASCII),
)


# The URL and the headers of a request, and its token, which is removed from logs.
_Target = tuple[str, dict[str, str], str]


class _Discord(ChatChannel):
    service = "Discord"
    markup = MARKDOWN
    when_accepted = "Discord accepted the test. Check the channel."
    answers_with_id = True
    chat = ChatService.DISCORD

    @abstractmethod
    def target(self, destination: Destination, message_id: str) -> _Target:
        """Return where the post with this id is edited, or if it is empty, where a new
        one is made. Raises DestinationGone if the destination is not usable.
        """

    def body(self, card: Card, destination: Destination) -> Json:
        return payload(embed(card))

    send_answer = staticmethod(edit_answer)
    commands = dict.fromkeys(COMMANDS, run_command)

    def answer_body(self, interaction: Interaction, reply: Reply) -> Json:
        if reply.form:
            return reason_form(reply.form)
        return private(with_typed_text(reply, interaction.options))

    def mention_body(self, account: str, text: str, *, is_group: bool) -> Json:
        named = {"roles" if is_group else "users": [account]}
        return {
            "content": f"<@{'&' if is_group else ''}{account}> {text}",
            "allowed_mentions": {"parse": [], **named},
        }

    def post(self, destination: Destination, body: Json) -> Posted:
        return self.edit(destination, "", body)

    def edit(self, destination: Destination, message_id: str, body: Json) -> Posted:
        """Edit the post with this id, or make a new one if it is empty."""
        url, headers, token = self.target(destination, message_id)
        answer = send(
            "PATCH" if message_id else "POST",
            url,
            json.dumps(body).encode(),
            headers=headers,
            limit=destination.time_limit,
        )
        result = json_object(answer)
        status = answer.status
        logged_answer = redacted(answer, [token], headers=_LOGGED_HEADERS)
        if status in (200, 204):
            new_id = text_in(result, "id")
            # The id becomes part of an address later, so it must be one.
            new_id = new_id if _ID.fullmatch(new_id) else message_id
            return Posted(new_id, status, logged_answer, _pause(answer, destination))
        answer_fields: Json = {"status": status, "answer": logged_answer}
        if status == 429:
            raise RetryLater(
                "Discord asked to wait.",
                seconds=seconds_asked(
                    result.get("retry_after") or answer.headers.get("Retry-After")
                ),
                # Without Discord's number it is a block of this server's address.
                whole_service=result.get("global") is True
                or "retry_after" not in result
                or "X-RateLimit-Global" in answer.headers,
                **answer_fields,
            )
        code = result.get("code")
        if status == 404 and code == UNKNOWN_MESSAGE:
            raise CardGone("Somebody deleted the card in Discord.", **answer_fields)
        if message_id and code in FIXED:
            raise CardFixed(
                f"Discord lets nobody edit the card (code {code}).", **answer_fields
            )
        if code in CLOSED:
            raise RetryLater(
                f"The thread in Discord is closed (code {code}).", **answer_fields
            )
        is_refusal = status in (401, 403, 404)
        if is_refusal and code in NOT_DISCORD:
            raise RetryLater(
                f"This server was refused before Discord read the request ({status}).",
                **answer_fields,
            )
        gone = (status,) if is_refusal or code in NOT_HERE else ()
        raise failure("Discord", answer, logged_answer, gone=gone, refused=(400,))


class DiscordWebhook(_Discord):
    """Cards with links, posted to the address of a webhook. They have no buttons,
    because Discord does not report presses of a webhook's buttons to the desk.
    """

    kind = "discord_webhook"
    label = "Discord webhook"
    summary = "Cards with links. Needs a webhook address."
    hosts = HOSTS
    path = re.compile("/api(/v[0-9]{1,2})?/webhooks/[0-9]{1,20}/[A-Za-z0-9_-]{1,200}/?")
    query = re.compile("(thread_id=[0-9]{1,20})?")
    example = "https://discord.com/api/webhooks/1180000000000000427/a-long-token"
    hint = "In Discord, open the channel's settings, Integrations, Webhooks, and press “Copy Webhook URL”."
    except_query = ", except thread_id and its number"
    fields = (
        FormField(
            "url",
            "Address of the Discord webhook",
            "In Discord: the channel's settings, Integrations, Webhooks, New Webhook, Copy Webhook URL.",
            required="Enter the address of the webhook.",
            is_secret=True,
        ),
        ANSWERS,
        MENTIONS,
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

    def target(self, destination: Destination, message_id: str) -> _Target:
        if error := self.url_error(destination.url):
            # It may have been accepted while OUTGOING_ALLOW still named its origin.
            raise DestinationGone(error)
        # The query of the address names a thread and must stay. "wait" makes Discord
        # answer with the message, which has its id.
        address, _, thread = destination.url.partition("?")
        address = address.rstrip("/")
        url = f"{address}?{thread}&wait=true".replace("?&", "?")
        if message_id:
            url = f"{address}/messages/{message_id}?{thread}".rstrip("?")
        headers = {"User-Agent": "Countersign (webhook, 1)"}
        return url, headers, address.rpartition("/")[2]


class DiscordBot(_Discord):
    """Cards with buttons, posted by the bot of the operator's own application."""

    kind = "discord_bot"
    label = "Discord channel, by the bot"
    summary = "Cards with buttons. Needs the channel id, and an operator who sets DISCORD_BOT_TOKEN."
    urls = "alerts.channels.discord.interactions"
    fields = (
        FormField(
            "channel",
            "Id of the channel, for the bot",
            "In Discord, with Developer Mode on: the channel, Copy Channel ID.",
            required=f"Enter the channel id. {_CHANNEL_HINT}",
            max_length=200,
            too_long="This is too long for a channel id.",
            pattern=_CHANNEL,
            invalid=f"This is not a channel id, which has only digits. {_CHANNEL_HINT}",
        ),
        ANSWERS,
        MENTIONS,
    )
    refusals = {
        400: "Discord did not accept the message. Check that the channel is a text channel.",
        401: "Discord does not accept the bot's token. Check DISCORD_BOT_TOKEN: the token was reset, or is incomplete.",
        403: "Discord does not let the bot post there. Give it View Channel, Send Messages and Embed Links there.",
        404: "Discord does not know this channel, or the bot is not on its server. Copy the channel id again and "
        "invite the bot.",
    }

    @property
    def not_ready(self) -> str:
        if settings.DISCORD_BOT_TOKEN:
            return ""
        return "DISCORD_BOT_TOKEN is not set, so the bot cannot post."

    def body(self, card: Card, destination: Destination) -> Json:
        body = super().body(card, destination)
        if card.message:
            # They replace those of an edited post: an empty list removes them.
            body["components"] = buttons(card)
        return body

    def address(self, destination: Destination) -> str:
        return f"channel {destination.channel}"

    def target(self, destination: Destination, message_id: str) -> _Target:
        if self.not_ready:
            raise DestinationGone(self.not_ready)
        if not _ID.fullmatch(destination.channel):
            raise DestinationGone("The destination has no channel.")
        token = settings.DISCORD_BOT_TOKEN
        url = f"{settings.DISCORD_API_URL.rstrip('/')}/channels/{destination.channel}/messages"
        if message_id:
            url += f"/{message_id}"
        headers = {
            "Authorization": f"Bot {token}",
            "User-Agent": f"DiscordBot ({settings.PUBLIC_URL}, 1)",
        }
        return url, headers, token


def _pause(answer: Answer, destination: Destination) -> float:
    """Return how many seconds to wait until the next request, because a limit is used
    up: one that the headers report, or the one that they do not.

    Each process counts for itself; if several send more together, Discord asks to wait.
    """
    where = f"{destination.url} {destination.channel}"
    key = f"discord/{sha256(where.encode()).hexdigest()}"
    now = time.time()
    times = [*caches["process"].get(key, ()), now][-REQUESTS:]
    caches["process"].set(key, times, SECONDS)
    pause = 0.0
    if len(times) == REQUESTS:
        pause = max(pause, times[0] + SECONDS - now)
    if answer.headers.get("X-RateLimit-Remaining") == "0":
        asked = seconds_asked(answer.headers.get("X-RateLimit-Reset-After"))
        pause = max(pause, asked)
    return pause
