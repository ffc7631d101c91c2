"""The channel for Slack: posts cards in Slack's format, Block Kit. With a bot's token
it edits a card in place; with an incoming webhook it cannot, so each change is a new
post. It must not know routes or deliveries. No sentence and no log contains the
webhook's token or the bot's.

In every text, Slack reads the signs & < > as markup for links, mentions and times, so
all three are escaped. Text that needs no formatting goes into plain_text objects, in
which Slack reads no other markup.
"""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError

from alerts.cards.markup import MAX_SHORT, Card, Field, Markup, cut, visible
from alerts.channels.base import (
    CardChannel,
    CardFixed,
    CardGone,
    CardRefused,
    DestinationGone,
    FormField,
    Posted,
    RetryLater,
)
from alerts.channels.requests import (
    MASK,
    address_error,
    is_allowed,
    json_object,
    masked_host,
    redacted,
    retry_after,
    send,
    split_address,
)
from alerts.models import Destination
from common.origins import origin_of
from outgoing.guarded import TOTAL_TIMEOUT, Answer

# The second is that of Slack for the government of the US.
HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")
EXAMPLE = "https://hooks.slack.com/services/T0000000/B0000000/a-long-token"
API = "https://slack.com/api"
# In seconds: Slack allows about one post a second in a channel.
PAUSE = 1.0
_PATH = re.compile(
    r"/services/(?P<team>[A-Z0-9]{1,30})/(?P<hook>[A-Z0-9]{1,30})/(?P<token>[A-Za-z0-9]{1,100})"
)
_TOKEN = re.compile(r"xox[a-z]-[A-Za-z0-9-]{1,250}")
_CHANNEL_ID = re.compile(r"[CGD][A-Z0-9]{1,30}")
_TIMESTAMP = re.compile(r"[0-9]{1,20}\.[0-9]{1,10}")
_ERROR = re.compile(r"[a-z_]{1,60}")
_HINT = "In Slack, open your app's page, Incoming Webhooks, and copy an address."

# Slack's words for errors, of webhooks and of the Web API, by what they mean here: the
# destination is gone, nobody may edit the card, this card is refused, or wait. After
# any other error the desk tries again.
_GONE = """
no_service no_service_id no_team team_disabled invalid_token action_prohibited
no_active_hooks invalid_auth not_authed account_inactive token_revoked token_expired
missing_scope channel_not_found channel_is_archived is_archived not_in_channel
no_permission org_login_required posting_to_general_channel_denied user_not_found
access_denied ekm_access_denied messages_tab_disabled not_allowed_token_type
""".split()
_CARD_FIXED = {"cant_update_message", "edit_window_closed"}
_REFUSED = """
invalid_payload invalid_blocks invalid_blocks_format msg_too_long msg_blocks_too_long
no_text too_many_attachments invalid_arguments invalid_json invalid_attachments
""".split()
_RIGHTS = re.compile("permission|restricted|denied|disabled")
_RATE_LIMITED = {"ratelimited", "rate_limited", "message_limit_exceeded"}
# Block Kit's limits, in characters.
MAX_HEADER = 150
MAX_SECTION = 3000
MAX_FIELD = 2000
MAX_FIELDS = 10
MAX_URL = 3000
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# In formatted text these signs cannot be escaped, so signs that look like them replace
# them.
_LOOKALIKES = str.maketrans("*_~`", "∗＿∼ˋ")
# The colon that begins the name of an emoji.
_EMOJI = re.compile(r":(?=[\w+'-]+:)")
_HALF_ENTITY = re.compile(r"&[a-z]{0,3}…$")


class Mrkdwn(Markup):
    """How cards are written for Slack."""

    def plain(self, text: str, limit: int = MAX_SHORT) -> str:
        return cut_entities(visible(text[: 8 * limit]).translate(_ENTITIES), limit)

    def literal(self, text: str, limit: int = MAX_SHORT) -> str:
        return _EMOJI.sub("∶", self.plain(text, limit)).translate(_LOOKALIKES)

    def bold(self, text: str) -> str:
        return f"*{text}*"

    def link(self, label: str, url: str) -> str:
        return f"<{url.translate(_ENTITIES)}|{label}>"

    def aligned(self, lines: Sequence[str]) -> str:
        shown = "\n".join(
            visible(line).replace("`", "ˋ").translate(_ENTITIES) for line in lines
        )
        return f"```\n{shown}\n```"

    def moment(self, at: datetime) -> str:
        return f"<!date^{int(at.timestamp())}^{{date_short_pretty}}, {{time}}|{at:%Y-%m-%d %H:%M} UTC>"


def card_body(card: Card) -> dict[str, Any]:
    """Return the body that shows a card: a header, the status, the fields, a button
    that opens the desk, and a footer.
    """
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain_text(card.title, MAX_HEADER)},
        {"type": "section", "text": _mrkdwn(card.description, MAX_SECTION)},
    ]
    blocks += [
        {
            "type": "section",
            "fields": [_field(one) for one in card.fields[first : first + MAX_FIELDS]],
        }
        for first in range(0, len(card.fields), MAX_FIELDS)
    ]
    if card.url and len(card.url) <= MAX_URL:
        button = {"type": "button", "text": _plain_text("Open", 75), "url": card.url}
        blocks.append({"type": "actions", "elements": [button]})
    if card.footer:
        blocks.append(
            {"type": "context", "elements": [_plain_text(card.footer, MAX_SECTION)]}
        )
    return text_body(f"{card.title}: {card.word}" if card.word else card.title, blocks)


def short_body(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body without blocks, for one that Slack refused."""
    return text_body(
        f"{body['text']}\nSlack did not accept the full card. Open the message on the desk.",
        [],
    )


def text_body(text: str, blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a body with these blocks. Notifications show `text`, in which Slack makes
    no links, mentions or formatting of its own.
    """
    return {
        "text": text,
        "mrkdwn": False,
        "blocks": blocks,
        "unfurl_links": False,
        "unfurl_media": False,
        "link_names": False,
        "parse": "none",
    }


def cut_entities(text: str, limit: int) -> str:
    """Return `text` cut to `limit`, never in the middle of an entity such as &amp;."""
    return _HALF_ENTITY.sub("…", cut(text, limit))


def _field(field: Field) -> dict[str, Any]:
    if field.is_formatted:
        return _mrkdwn(f"*{field.name}*\n{field.value}", MAX_FIELD)
    return _plain_text(f"{field.name}\n{field.value}", MAX_FIELD)


def _plain_text(text: str, limit: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": cut_entities(text, limit), "emoji": False}


def _mrkdwn(text: str, limit: int) -> dict[str, Any]:
    # Verbatim: Slack does not turn names of channels and people into links.
    return {"type": "mrkdwn", "text": cut_entities(text, limit), "verbatim": True}


class Slack(CardChannel):
    """Cards with links, posted by a bot or by an incoming webhook."""

    kind = "slack"
    label = "Slack"
    service = "Slack"
    hosts = HOSTS
    summary = "Cards with links. Needs an incoming webhook, or a bot token, with which cards are edited in place."
    markup = Mrkdwn()
    when_accepted = "Slack accepted the test. Check the channel."
    when_late = when_unreachable = (
        "Check that this server can reach slack.com on port 443, then test again."
    )
    fields = (
        FormField(
            "url",
            "Address of the Slack webhook",
            "In Slack: your app, Incoming Webhooks, Add New Webhook. Leave empty if you enter a bot token.",
            is_secret=True,
        ),
        FormField(
            "secret",
            "Bot token",
            "Begins with xoxb- and needs the scope chat:write. With it, cards are edited in place; otherwise each "
            "change is a new post.",
            is_secret=True,
            max_length=300,
            too_long="This is too long for a token.",
        ),
        FormField(
            "channel",
            "Id of the channel, for the bot",
            "In Slack: at the end of the channel's details, such as C0123456789. Invite the bot first.",
            max_length=32,
            too_long="This is too long for a channel id.",
        ),
    )
    refusals = {
        400: "Slack did not accept the message. Check that this is a Slack webhook.",
        401: "Slack does not accept the bot's token. Copy it again from your app's page, OAuth & Permissions.",
        403: "Slack does not let this app post there. Check the channel's posting permissions, or reinstall the app.",
        404: "Slack does not know this webhook or channel: it was removed, or is incomplete. Copy it again, and invite "
        "the bot to the channel.",
        410: "The channel is archived. Choose another one.",
    }

    def clean(self, typed: Any, *, is_new: bool) -> dict[str, str]:
        values = super().clean(typed, is_new=is_new)
        secret = values.get("secret")
        channel = values.get("channel")
        if secret and not channel:
            raise ValidationError(
                {"channel": "Enter the id of the channel that the bot posts to."}
            )
        if is_new and channel and not secret:
            raise ValidationError(
                {"secret": "Enter the bot token, which this channel needs."}
            )
        if is_new and not secret and not values.get("url"):
            raise ValidationError(
                {
                    "url": "Enter the address of the webhook, or a bot token with a channel id."
                }
            )
        return values

    def clean_field(self, name: str, value: str) -> str:
        if name == "url" and (error := webhook_error(value)):
            raise ValidationError(error)
        if name == "secret" and not _TOKEN.fullmatch(value):
            raise ValidationError("This is not a bot token, which starts with xoxb-.")
        if name == "channel" and not _CHANNEL_ID.fullmatch(value):
            raise ValidationError(
                "This is not a channel id such as C0123456789. See the end of its details."
            )
        return value

    def address(self, destination: Destination) -> str:
        # Without a token it posts to its webhook, whatever channel was entered.
        if destination.channel and destination.secret:
            return f"channel {destination.channel}"
        parts = split_address(destination.url)
        path = _PATH.fullmatch(parts.path) if parts else None
        if parts is None or path is None:
            return masked_host(destination.url)
        return f"{parts.netloc}/services/…{path['hook'][-4:]}/{MASK}"

    body = staticmethod(card_body)
    shorten = staticmethod(short_body)

    def post(
        self,
        destination: Destination,
        body: dict[str, Any],
        *,
        limit: float = TOTAL_TIMEOUT,
    ) -> Posted:
        if destination.secret and destination.channel:
            return _call(destination, "chat.postMessage", body, limit=limit)
        if error := webhook_error(destination.url):
            # It may have been accepted while OUTGOING_ALLOW still named its origin.
            raise DestinationGone(error)
        answer = send("POST", destination.url, json.dumps(body).encode(), limit=limit)
        token = urlsplit(destination.url).path.rpartition("/")[2]
        logged_answer = redacted(answer, [token], headers=["Retry-After"])
        if answer.status == 200 and answer.body.strip() == b"ok":
            return Posted("", 200, answer=logged_answer, pause=PAUSE)
        raise _failure(
            answer, answer.body.decode(errors="replace").strip(), logged_answer
        )

    def edit(
        self, destination: Destination, message_id: str, body: dict[str, Any]
    ) -> Posted:
        if not (destination.secret and destination.channel):
            return self.post(destination, body)
        return _call(
            destination, "chat.update", {**body, "ts": message_id}, limit=TOTAL_TIMEOUT
        )


def webhook_error(url: str) -> str:
    """Return why this cannot be the address of an incoming webhook of Slack, and what
    to do, as a sentence; empty if it can.
    """
    if error := address_error(url, example=EXAMPLE, hint=_HINT):
        return error
    parts = urlsplit(url)
    if not is_allowed(url):
        if parts.hostname not in HOSTS:
            return f"This is not a Slack webhook address such as {EXAMPLE}. {_HINT}"
        if origin_of(url) != f"https://{parts.hostname}:443":
            return "Slack's addresses start with https:// and have no port. Enter it without one."
    if not _PATH.fullmatch(parts.path):
        return f"This is not a webhook address such as {EXAMPLE}. {_HINT}"
    return "Remove everything after the question mark." if parts.query else ""


def _call(
    destination: Destination, method: str, body: dict[str, Any], *, limit: float
) -> Posted:
    """Call a method of Slack's Web API as the bot. Raises NotPosted if it was refused:
    then Slack answers 200 too, with "ok": false.
    """
    api_url = API
    # A stand-in for tests: OUTGOING_ALLOW names the origin of the webhook's address.
    if destination.url and is_allowed(destination.url):
        parts = urlsplit(destination.url)
        api_url = f"{parts.scheme}://{parts.netloc}/api"
    headers = {
        "Authorization": f"Bearer {destination.secret}",
        "Content-Type": "application/json; charset=utf-8",
    }
    request = json.dumps({**body, "channel": destination.channel}).encode()
    answer = send("POST", f"{api_url}/{method}", request, headers=headers, limit=limit)
    logged_answer = redacted(answer, [destination.secret], headers=["Retry-After"])
    result = json_object(answer)
    timestamp = str(result.get("ts") or "")
    if (
        answer.status == 200
        and result.get("ok") is True
        and _TIMESTAMP.fullmatch(timestamp)
    ):
        return Posted(timestamp, 200, answer=logged_answer, pause=PAUSE)
    raise _failure(answer, str(result.get("error") or ""), logged_answer)


def _failure(answer: Answer, error: str, logged_answer: str) -> Exception:
    """Return the exception to raise for an answer. `error` is Slack's word for the
    error, which says more than the status; `logged_answer` is the answer for the log.
    """
    if not _ERROR.fullmatch(error):
        error = ""
    status = answer.status
    sentence = f"Slack answered {error or status}."
    if status == 429 or error in _RATE_LIMITED:
        return RetryLater(
            "Slack asked to wait.",
            seconds=retry_after(answer),
            status=429,
            answer=logged_answer,
        )
    if error in _CARD_FIXED:
        return CardFixed(
            f"Slack lets nobody edit the card ({error}).",
            status=403,
            answer=logged_answer,
        )
    if error == "message_not_found":
        return CardGone(
            "Somebody deleted the card in Slack.", status=404, answer=logged_answer
        )
    # The longer words name what a channel restricts. A refusal without a word of Slack's
    # is a proxy's.
    is_gone = error in _GONE or error.startswith("restricted_action")
    if is_gone or (error and status in (401, 403, 404, 410)):
        if status == 200:
            # The Web API answers 200 to everything, so the word is turned into the
            # status that a webhook would have got, for the wording of a test's result.
            if error.endswith("is_archived"):
                status = 410
            elif error in ("channel_not_found", "not_in_channel"):
                status = 404
            else:
                status = 403 if _RIGHTS.search(error) else 401
        return DestinationGone(
            f"{sentence} It does not accept posts there.",
            status=status,
            answer=logged_answer,
        )
    if error in _REFUSED or status == 400:
        return CardRefused(
            f"Slack refused the card ({error or status}).",
            status=400,
            answer=logged_answer,
        )
    return RetryLater(sentence, status=None if error else status, answer=logged_answer)
