"""The desk's answers to presses and forms in Slack: their format, and how one is sent."""

import json

from alerts.channels.answers import (
    LATE,
    REASON,
    REASON_HELP,
    REASON_LABEL,
    REASON_TITLE,
)
from alerts.channels.base import Reply
from alerts.channels.requests import Json, NotPosted, failure, send
from alerts.channels.slack.format import MAX_SECTION, cut_entities, plain_text
from alerts.channels.slack.web_api import call_api
from alerts.models import Destination, Interaction
from approvals.decisions.forms import MAX_REASON


def answer_body(interaction: Interaction, reply: Reply) -> Json:
    """Return an answer in Slack's format: a text, or the form that asks for a reason."""
    if reply.form:
        return {"view": _reason_form(interaction, reply.form)}
    return {
        "text": cut_entities(reply.content, MAX_SECTION),
        "response_type": "ephemeral",
        "replace_original": False,
    }


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


def send_answer(interaction: Interaction, body: Json) -> None:
    """Send the answer. Raises Refused and RetryLater; neither contains the address.

    A form that cannot be opened, mostly because Slack allows three seconds for that, is
    replaced by a text that asks to press again.
    """
    if "view" in body:
        if _opens(interaction, body["view"]):
            return
        body = answer_body(interaction, Reply("too late", LATE))
    content = json.dumps(body).encode()
    answer = send("POST", interaction.token, content)
    if answer.status != 200:
        raise failure("Slack", answer, refused=range(500))


def _opens(interaction: Interaction, view: Json) -> bool:
    """Open a form for the person who pressed; return whether Slack did."""
    bots = Destination.objects.not_removed().exclude(secret="")
    destination = bots.filter(kind="slack", channel=interaction.channel_id).first()
    if destination is None:
        return False
    content = {"trigger_id": interaction.external_id, "view": view}
    try:
        _, result = call_api(destination, "views.open", content)
    except NotPosted:
        return False
    return result.get("ok") is True
