"""The channel for Inngest, a service that runs functions: posts each event to Inngest's
event API, with an id by which Inngest drops a repeated event. It must not know cards.

The address contains the event key, and whoever has the key can post. So no sentence and
no log contains the key.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from alerts.channels.base import TEST_EVENT, EventChannel, FormField
from alerts.channels.requests import json_object
from common.exchange import Answer

# The beginning of each event's name, as in MultiMail's documentation about Inngest.
FAMILY = "multimail/"


class Inngest(EventChannel):
    """Events for functions."""

    kind = "inngest"
    label = "Inngest"
    service = "Inngest"
    when_accepted = f"Inngest accepted the test as the event {FAMILY}{TEST_EVENT}."
    answers_with_id = True
    summary = "Events for functions. Needs an event URL."
    fields = (
        FormField(
            "url",
            "Event URL",
            "In Inngest: Manage, Event Keys; the address ends with the key.",
            required="Enter the event URL.",
            is_secret=True,
        ),
    )
    hosts = ("inn.gs",)
    path = re.compile("/e/[A-Za-z0-9_-]{1,200}/?")
    example = "https://inn.gs/e/an-event-key"
    hint = (
        "In Inngest, open Manage, Event Keys, and copy an address that events are posted to. For a server of your "
        "own, an operator can name its origin in OUTGOING_ALLOW."
    )
    gone = (401, 403, 404, 410)
    refused = (400, 406, 409, 412, 413, 422)
    refusals = {
        400: "Inngest did not accept the event. Check that the address is an event URL.",
        401: "Inngest does not know this event key. Copy the whole address from Manage, Event Keys.",
        403: "Inngest refuses this key. Check under Manage, Event Keys, whether it is limited to certain events or "
        "addresses.",
        404: "Inngest does not know this event key: it was deleted, or the address is incomplete. Check under Manage, "
        "Event Keys.",
        413: "The event is too large for Inngest.",
    }

    def url_error(self, url: str) -> str:
        if "/signkey" in url:
            return f"This contains a signing key, which is only for your functions. {self.hint}"
        return super().url_error(url)

    def envelope(
        self, name: str, at: datetime, event_id: str, data: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {
            "name": f"{FAMILY}{name}",
            "id": event_id,
            "ts": int(at.timestamp() * 1000),
            "data": data,
        }

    def posted_id(self, answer: Answer) -> str:
        # Inngest's answer is such as {"ids": ["01H..."], "status": 200}. If it has no
        # id, something else answered.
        ids = json_object(answer).get("ids")
        first = ids[0] if isinstance(ids, list) and ids else ""
        return first[:64] if isinstance(first, str) else ""


CHANNELS = (Inngest(),)
