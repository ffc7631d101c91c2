"""The channel for Microsoft Teams: posts cards with a link, in the format of Adaptive
Cards, to a workflow that a channel made for webhooks. A posted card cannot be edited, so
each change is a new post.

All text stands in text runs, in which Teams reads no markup. Whoever has the address can
post there, so no sentence and no log contains its signature.
"""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from alerts.cards.markup import Card, Markup
from alerts.channels.base import (
    CardChannel,
    DestinationGone,
    FormField,
    Posted,
)
from alerts.channels.requests import (
    address_error,
    failure,
    is_allowed,
    masked_host,
    redacted,
    send,
)
from alerts.models import Destination
from outgoing.guarded import TOTAL_TIMEOUT

# The ends of the hosts of workflows, the second of older ones.
HOSTS = (".environment.api.powerplatform.com", ".logic.azure.com")
EXAMPLE = "https://default0.0.environment.api.powerplatform.com/…/workflows/…?sig=…"
# Teams takes about one message a second in a channel.
PAUSE = 1.0
_HINT = "In Teams: the channel, Workflows, “Send webhook alerts to a channel”; copy the address at its end."
_GONE = (401, 403, 404, 410)
_REFUSED = (400, 413, 422)


def _block(*runs: dict[str, Any], **more: Any) -> dict[str, Any]:
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
    fields = (
        FormField(
            "url",
            "Address of the workflow",
            _HINT,
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
        if error := address_error(url, example=EXAMPLE, hint=_HINT):
            return error
        parts = urlsplit(url)
        is_known = parts.scheme == "https" and (parts.hostname or "").endswith(HOSTS)
        if not is_known and not is_allowed(url):
            return f"This is not the address of a workflow in Teams. {_HINT}"
        if "sig" not in parse_qs(parts.query):
            return f"The address is incomplete: its signature is missing. {_HINT}"
        return ""

    def address(self, destination: Destination) -> str:
        return masked_host(destination.url)

    def body(self, card: Card, destination: Destination) -> dict[str, Any]:
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

    def post(
        self,
        destination: Destination,
        body: dict[str, Any],
        *,
        limit: float = TOTAL_TIMEOUT,
    ) -> Posted:
        url = destination.url
        if error := self.url_error(url):
            # It may have been accepted while OUTGOING_ALLOW still named its origin.
            raise DestinationGone(error)
        answer = send("POST", url, json.dumps(body).encode(), limit=limit)
        signatures = parse_qs(urlsplit(url).query).get("sig", [])
        logged = redacted(answer, signatures, headers=["Retry-After"])
        if 200 <= answer.status < 300:
            return Posted("", answer.status, answer=logged, pause=PAUSE)
        raise failure("The workflow", answer, logged, gone=_GONE, refused=_REFUSED)

    def edit(
        self, destination: Destination, message_id: str, body: dict[str, Any]
    ) -> Posted:
        return self.post(destination, body)


CHANNELS = (Teams(),)
