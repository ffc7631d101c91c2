"""The channel for Microsoft Teams: posts cards with a link, in the format of Adaptive
Cards, to a workflow that a channel made for webhooks. A posted card cannot be edited, so
each change is a new post.

All text stands in text runs, in which Teams reads no markup. Whoever has the address can
post there, so no sentence and no log contains its signature.
"""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from alerts.cards.markup import Card, Markup
from alerts.channels.base import CardChannel, FormField
from alerts.channels.requests import Json, is_allowed
from alerts.models import Destination

# The ends of the hosts of workflows, the second of older ones.
HOSTS = (".environment.api.powerplatform.com", ".logic.azure.com")


def _block(*runs: Json, **more: Any) -> Json:
    inlines = [{"type": "TextRun", **one} for one in runs]
    return {"type": "RichTextBlock", "inlines": inlines, **more}


class Teams(CardChannel):
    """Cards with a link, posted by a workflow."""

    kind = "teams"
    label = "Microsoft Teams"
    service = "Teams"
    summary = (
        "Cards with a link, by a workflow of a channel. Each change is a new post."
    )
    markup = Markup()
    when_accepted = "The workflow accepted the test. Check the channel."
    example = "https://default0.0.environment.api.powerplatform.com/…/workflows/…?sig=…"
    hint = "In Teams: the channel, Workflows, “Send webhook alerts to a channel”; copy the address at its end."
    # Teams takes about one message a second in a channel.
    pause = 1.0
    gone = (401, 403, 404, 410)
    refused = (400, 413, 422)
    fields = (
        FormField(
            "url",
            "Address of the workflow",
            hint,
            required="Enter the address of the workflow.",
            is_secret=True,
            max_length=1000,
        ),
    )
    refusals = {
        400: "The workflow did not accept the message. Make it from the template for webhook alerts.",
        401: "The workflow does not accept the signature. Copy the whole address again.",
        404: "There is no such workflow: it was deleted or switched off. Copy the address of another one.",
    }

    def url_error(self, url: str) -> str:
        if error := super().url_error(url):
            return error
        parts = urlsplit(url)
        if not (parts.hostname or "").endswith(HOSTS) and not is_allowed(url):
            return f"This is not the address of a workflow in Teams. {self.hint}"
        if "sig" not in parse_qs(parts.query):
            return f"The address is incomplete: its signature is missing. {self.hint}"
        return ""

    def body(self, card: Card, destination: Destination) -> Json:
        blocks = [
            _block({"text": card.title, "weight": "Bolder", "size": "Medium"}),
            _block({"text": card.description}),
            *(
                _block(
                    {"text": f"{one.name}: ", "weight": "Bolder"}, {"text": one.value}
                )
                for one in card.fields
            ),
        ]
        if card.footer:
            blocks.append(
                _block({"text": card.footer, "isSubtle": True, "size": "Small"})
            )
        opens = {"type": "Action.OpenUrl", "title": "Open", "url": card.url}
        content = {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "fallbackText": card.title,
            "body": blocks,
            "actions": [opens] if card.url else [],
            "msteams": {"width": "Full"},
        }
        attached = {
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": content,
        }
        return {"type": "message", "attachments": [attached]}


CHANNELS = (Teams(),)
