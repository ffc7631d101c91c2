"""Stand-ins for programs that receive the desk's events. They check each event, keep it
in memory, and list the received events as JSON.

Inngest's event API is answered as it is documented: `POST /e/<event key>` with one
event or a list of events. A signed webhook is checked as the Standard Webhooks
specification says.
"""

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path

from standardwebhooks import Webhook, WebhookVerificationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from common.credentials import read_credentials
from common.demo import EVENTS_PATH, HOOK_PATH, HOOK_SECRET
from common.unique_keys import Json

# How many events are kept.
MOST_EVENTS = 500


class Programs:
    """Keeps the events that the programs received."""

    def __init__(self, data_dir: Path) -> None:
        self._credentials = data_dir / "credentials.env"
        # Oldest first. If an event is received again, the first one stays.
        self._events: dict[tuple[str, str], Json] = {}

    def routes(self) -> list[Route]:
        """Return the URLs of the programs and of the list, and who answers them."""
        return [
            Route(EVENTS_PATH + "{key}", self.take_inngest, methods=["POST"]),
            Route(HOOK_PATH, self.take_webhook, methods=["POST"]),
            Route("/programs.json", self.newest),
        ]

    async def newest(self, request: Request) -> Response:
        """Return the received events, newest first."""
        events = list(reversed(self._events.values()))
        # Indented, because people read it.
        listed = json.dumps({"events": events}, indent=1)
        return Response(listed, media_type="application/json")

    async def take_inngest(self, request: Request) -> Response:
        """Keep the events, and answer with an id for each; with 400 in Inngest's words
        if they are not acceptable.
        """
        ids = []
        try:
            body = await request.json()
            for event in body if isinstance(body, list) else [body]:
                ids.append(str(event.get("id") or secrets.token_hex(13)))
                self._take("inngest", ids[-1], event["name"], event)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return _refused(f"Unable to process request: {error}")
        return JSONResponse({"ids": ids, "status": 200})

    async def take_webhook(self, request: Request) -> Response:
        """Keep the event, if its signature is right; otherwise answer 400."""
        # Read for each request, because the secret is made after this process has
        # begun.
        secret = read_credentials(self._credentials).get(HOOK_SECRET, "")
        if not secret:
            return _refused("There is no secret yet.")
        try:
            body = Webhook(secret).verify(await request.body(), dict(request.headers))
            name = str(body["type"])
            self._take("webhook", request.headers["webhook-id"], name, body)
        except WebhookVerificationError:
            return _refused("The signature does not hold.")
        except (ValueError, KeyError, TypeError):
            return _refused("This is no signed event.")
        return Response(status_code=204)

    def _take(self, program: str, key: str, name: str, body: Json) -> None:
        event = {
            "program": program,
            "id": key,
            "name": name,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "body": body,
        }
        self._events.setdefault((program, key), event)
        while len(self._events) > MOST_EVENTS:
            del self._events[next(iter(self._events))]


def _refused(words: str) -> Response:
    return JSONResponse({"error": words, "status": 400}, 400)
