"""The channel for Slack: which fields its form has, how it posts and edits cards, and
what Slack's answers mean. With a bot's token it edits a card in place; with an incoming
webhook it cannot, so each change is a new post. It must not know routes or deliveries.
No sentence and no log contains the webhook's token or the bot's.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from django.conf import settings

from alerts.cards.markup import Card
from alerts.channels.answers import (
    LATE,
    REASON,
    REASON_HELP,
    REASON_LABEL,
    REASON_TITLE,
)
from alerts.channels.base import ChatChannel, FormField, Posted, Reply
from alerts.channels.requests import (
    CardFixed,
    CardGone,
    Json,
    NotPosted,
    RetryLater,
    failure,
    is_allowed,
    json_object,
    redacted,
    send,
)
from alerts.channels.slack.format import (
    MARKUP,
    MAX_SECTION,
    card_body,
    cut_entities,
    mrkdwn,
    plain_text,
    text_body,
)
from alerts.models import Destination, Interaction
from approvals.decisions.forms import MAX_REASON
from common.exchange import Answer
from common.tables import table_rows
from people.models import ChatService

# The second is that of Slack for the government of the US.
HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")
API = "https://slack.com/api"
_TIMESTAMP = re.compile(r"[0-9]{1,20}\.[0-9]{1,10}")
_ERROR = re.compile(r"[a-z_]{1,60}")

# Slack's words for errors, of webhooks and of the Web API, with the status that a webhook
# gets: this card is refused, the destination is gone, or wait. The Web API answers 200
# to everything. After any other error the desk tries again.
_STATUSES = {
    word: int(status)
    for status, words in table_rows("""
400 | invalid_payload invalid_blocks invalid_blocks_format msg_too_long no_text
      msg_blocks_too_long too_many_attachments invalid_arguments invalid_json
      invalid_attachments
401 | invalid_auth not_authed account_inactive token_revoked token_expired missing_scope
      org_login_required not_allowed_token_type
403 | invalid_token action_prohibited team_disabled no_permission access_denied
      posting_to_general_channel_denied ekm_access_denied messages_tab_disabled
404 | no_service no_service_id no_team no_active_hooks user_not_found channel_not_found
      not_in_channel
410 | channel_is_archived is_archived
429 | ratelimited rate_limited message_limit_exceeded
""")
    for word in words.split()
}
_CARD_FIXED = {"cant_update_message", "edit_window_closed"}


class Slack(ChatChannel):
    """Cards posted by a bot, with buttons, or by an incoming webhook, with links."""

    kind = "slack"
    label = "Slack"
    service = "Slack"
    chat = ChatService.SLACK
    summary = "Cards. Needs an incoming webhook, or a bot token, with which cards are edited in place and have buttons."
    urls = "alerts.channels.slack.interactions"
    markup = MARKUP
    hosts = HOSTS
    path = re.compile("/services/[A-Z0-9]{1,30}/[A-Z0-9]{1,30}/[A-Za-z0-9]{1,100}")
    example = "https://hooks.slack.com/services/T0000000/B0000000/a-long-token"
    hint = "In Slack, open your app's page, Incoming Webhooks, and copy an address."
    # Slack allows about one post a second in a channel.
    pause = 1.0
    when_accepted = "Slack accepted the test. Check the channel."
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
            pattern=re.compile("(xox[a-z]-[A-Za-z0-9-]{1,250})"),
            invalid="This is not a bot token, which starts with xoxb-.",
        ),
        FormField(
            "channel",
            "Id of the channel, for the bot",
            "In Slack: at the end of the channel's details, such as C0123456789. Invite the bot first.",
            max_length=32,
            too_long="This is too long for a channel id.",
            pattern=re.compile("([CGD][A-Z0-9]{1,30})"),
            invalid="This is not a channel id such as C0123456789. See the end of its details.",
        ),
        FormField(
            "mentions",
            "User group to mention when a message is late",
            "In Slack: the id of the group, such as S0123456789. Only a step of a review plan uses it.",
            max_length=32,
            too_long="This is too long for the id of a group.",
            pattern=re.compile("(S[A-Z0-9]{1,30})"),
            invalid="This is not the id of a group such as S0123456789.",
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

    def missing(self, values: Mapping[str, str], *, is_new: bool) -> dict[str, str]:
        secret = values.get("secret")
        if secret and values.get("channel") == "":
            return {"channel": "Enter the id of the channel that the bot posts to."}
        if is_new and secret == "" and values.get("url") == "":
            return {
                "url": "Enter the address of the webhook, or a bot token with a channel id."
            }
        return {}

    def address(self, destination: Destination) -> str:
        if _has_bot(destination):
            return f"channel {destination.channel}"
        return super().address(destination)

    def answer_body(self, interaction: Interaction, reply: Reply) -> Json:
        """Return an answer in Slack's format: a text, or the form that asks for a
        reason.
        """
        if reply.form:
            return {"view": _reason_form(interaction, reply.form)}
        return {
            "text": cut_entities(reply.content, MAX_SECTION),
            "response_type": "ephemeral",
            "replace_original": False,
        }

    def send_answer(self, interaction: Interaction, body: Json) -> None:
        """Send the answer. Raises Refused and RetryLater; neither contains the address.

        A form that cannot be opened, mostly because Slack allows three seconds for
        that, is replaced by a text that asks to press again.
        """
        if "view" in body:
            bots = Destination.objects.not_removed().exclude(secret="")
            bot = bots.filter(kind="slack", channel=interaction.channel_id).first()
            call = {"trigger_id": interaction.external_id, **body}
            if bot is not None:
                with suppress(NotPosted):
                    _, opened = _call_api(bot, "views.open", call)
                    if opened.get("ok") is True:
                        return
            body = self.answer_body(interaction, Reply("too late", LATE))
        content = json.dumps(body).encode()
        answer = send("POST", interaction.token, content)
        if answer.status != 200:
            raise failure("Slack", answer, refused=range(500))

    def mention_body(self, account: str, text: str, *, is_group: bool) -> Json:
        text = f"<{'!subteam^' if is_group else '@'}{account}> {text}"
        return text_body(text, [{"type": "section", "text": mrkdwn(text)}])

    def body(self, card: Card, destination: Destination) -> Json:
        # A press is judged by the id of the card's post, which a webhook does not give.
        has_buttons = _has_bot(destination) and bool(settings.SLACK_SIGNING_SECRET)
        return card_body(card, has_buttons=has_buttons)

    def post(self, destination: Destination, body: Json) -> Posted:
        if _has_bot(destination):
            return self._call(destination, "chat.postMessage", body)
        return super().post(destination, body)

    def is_accepted(self, answer: Answer) -> bool:
        return answer.status == 200 and answer.body.strip() == b"ok"

    def edit(self, destination: Destination, message_id: str, body: Json) -> Posted:
        if not _has_bot(destination):
            return self.post(destination, body)
        return self._call(destination, "chat.update", {**body, "ts": message_id})

    def _call(self, destination: Destination, method: str, body: Json) -> Posted:
        """Post or edit as the bot. Raises NotPosted if it was refused: then Slack
        answers 200 too, with "ok": false.
        """
        content = {**body, "channel": destination.channel}
        answer, result = _call_api(destination, method, content)
        logged = redacted(answer, [destination.secret])
        posted_id = str(result.get("ts"))
        is_ok = answer.status == 200 and result.get("ok") is True
        if is_ok and _TIMESTAMP.fullmatch(posted_id):
            return Posted(posted_id, 200, logged, self.pause)
        raise self.failure(answer, logged)

    def failure(self, answer: Answer, logged: str) -> Exception:
        # Slack's word for the error, which says more than the status: in the JSON of
        # the Web API, alone in the answer of a webhook.
        word = json_object(answer).get("error") or answer.body.decode(errors="replace")
        error = str(word).strip()
        if not _ERROR.fullmatch(error):
            error = ""
        answered: Json = {"answer": logged}
        if error in _CARD_FIXED:
            sentence = f"Slack lets nobody edit the card ({error})."
            return CardFixed(sentence, status=403, **answered)
        if error == "message_not_found":
            sentence = "Somebody deleted the card in Slack."
            return CardGone(sentence, status=404, **answered)
        status = _STATUSES.get(error, answer.status)
        # The longer words name what a channel restricts.
        if error.startswith("restricted_action"):
            status = 403
        if error and status == 200:
            return RetryLater(f"Slack answered {error}.", **answered)
        # A refusal without a word of Slack's is a proxy's.
        gone = (401, 403, 404, 410) if error else ()
        said = f"Slack ({error})" if error else "Slack"
        return failure(said, answer, logged, status=status, gone=gone, refused=(400,))


def _call_api(
    destination: Destination, method: str, content: Json
) -> tuple[Answer, Json]:
    """Call a method of the Web API as the destination's bot; return the answer and the
    JSON in it, whose "ok" says whether it worked. Raises DestinationGone and RetryLater.
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
    body = json.dumps(content).encode()
    limit = destination.time_limit
    answer = send("POST", f"{api_url}/{method}", body, headers=headers, limit=limit)
    return answer, json_object(answer)


def _has_bot(destination: Destination) -> bool:
    # Without a token it posts to its webhook, whatever channel was entered.
    return bool(destination.secret and destination.channel)


def _reason_form(interaction: Interaction, custom_id: str) -> Json:
    """Return the form that asks why a message is rejected. It brings back the custom id
    of the button, and the card under which that was pressed.
    """
    container = {
        "message_ts": json.loads(interaction.options)["card"],
        "channel_id": interaction.channel_id,
    }
    opened_by = {"container": container, "response_url": interaction.token}
    element = {
        "type": "plain_text_input",
        "action_id": REASON,
        "multiline": True,
        "min_length": 1,
        "max_length": min(MAX_REASON, 3000),
    }
    field = {
        "type": "input",
        "block_id": REASON,
        "label": plain_text(REASON_LABEL),
        "hint": plain_text(REASON_HELP),
        "element": element,
    }
    return {
        "type": "modal",
        "callback_id": custom_id,
        "private_metadata": json.dumps(opened_by),
        "title": plain_text(REASON_TITLE),
        "submit": plain_text("Reject"),
        "close": plain_text("Cancel"),
        "blocks": [field],
    }
