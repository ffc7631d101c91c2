"""Calls methods of Slack's Web API as a destination's bot."""

import json
from urllib.parse import urlsplit

from alerts.channels.requests import Json, is_allowed, json_object, send
from alerts.models import Destination
from outgoing.guarded import Answer

# The second is that of Slack for the government of the US.
HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")
API = "https://slack.com/api"


def call_api(
    destination: Destination, method: str, content: Json
) -> tuple[Answer, Json]:
    """Call a method with these arguments; return the answer and the JSON in it, whose
    "ok" says whether it worked. Raises DestinationGone and RetryLater.
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
    answer = send(
        "POST",
        f"{api_url}/{method}",
        body,
        headers=headers,
        limit=destination.time_limit,
    )
    return answer, json_object(answer)
