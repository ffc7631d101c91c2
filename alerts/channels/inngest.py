"""The channel for Inngest, a service that runs functions: posts each event to Inngest's
event API, with an id by which Inngest drops a repeated event. It must not know cards.

The address contains the event key, and whoever has the key can post. So no sentence and
no log contains the key.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from alerts.channels.base import (
    TEST_EVENT,
    DestinationGone,
    EventChannel,
    FormField,
    Posted,
)
from alerts.channels.requests import (
    failure,
    json_object,
    masked_host,
    redacted,
    send,
    service_error,
)
from alerts.models import Destination

EXAMPLE = "https://inn.gs/e/an-event-key"
# The beginning of each event's name, as in MultiMail's documentation about Inngest.
FAMILY = "multimail/"
_HOSTS = ("inn.gs",)
_PATH = re.compile(r"/e/(?P<key>[A-Za-z0-9_-]{1,200})/?")
_HINT = (
    "In Inngest, open Manage, Event Keys, and copy an address that events are posted to. For a server of your own, "
    "an operator can name its origin in OUTGOING_ALLOW."
)
# Statuses that mean that the key is not accepted.
_GONE = (401, 403, 404, 410)
# Statuses that mean that this event will never be accepted.
_REFUSED = (400, 406, 409, 412, 413, 422)


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
        error = service_error(
            url,
            self.service,
            _HOSTS,
            _PATH,
            EXAMPLE,
            _HINT,
        )
        if error:
            return error
        parts = urlsplit(url)
        if "/signkey" in parts.path:
            return f"This contains a signing key, which is only for your functions. {_HINT}"
        return "Remove everything after the question mark." if parts.query else ""

    def address(self, destination: Destination) -> str:
        return masked_host(destination.url)

    def envelope(
        self, name: str, at: datetime, event_id: str, data: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {
            "name": f"{FAMILY}{name}",
            "id": event_id,
            "ts": int(at.timestamp() * 1000),
            "data": data,
        }

    def post_event(
        self, destination: Destination, body: bytes, *, event_id: str, limit: float
    ) -> Posted:
        url = destination.url
        if error := self.url_error(url):
            # It may have been accepted while OUTGOING_ALLOW still named its origin.
            raise DestinationGone(error)
        answer = send("POST", url, body, limit=limit)
        logged_answer = redacted(answer, [urlsplit(url).path.rpartition("/")[2]])
        status = answer.status
        if 200 <= status < 300:
            # Inngest's answer is such as {"ids": ["01H..."], "status": 200}. If it has
            # no id, something else answered.
            ids = json_object(answer).get("ids")
            first = ids[0] if isinstance(ids, list) and ids else ""
            event_id = first[:64] if isinstance(first, str) else ""
            return Posted(event_id, status, answer=logged_answer)
        raise failure("Inngest", answer, logged_answer, gone=_GONE, refused=_REFUSED)


CHANNELS = (Inngest(),)
