"""Speaks Discord's webhook protocol: posts a card, edits it, and says in one word what came of it."""

import json
import math
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from courier.guarded import Answer, DeliveryError, request

UNKNOWN_MESSAGE = 10008
_ID = re.compile(r"[0-9]{1,32}")


class DestinationGone(Exception):
    """The webhook does not exist any more, or may not post: trying again only counts as abuse."""


class CardGone(Exception):
    """Somebody deleted the card."""


class CardRefused(Exception):
    """Discord does not accept this card; the same one never will be."""


class Later(Exception):
    """Not now: `seconds` is how long to wait; `asked` where Discord said so itself."""

    def __init__(self, sentence: str, *, seconds: float | None = None, status: int | None = None) -> None:
        super().__init__(sentence)
        self.seconds = seconds
        self.status = status


@dataclass(frozen=True)
class Posted:
    """A card that Discord took."""

    message_id: str
    status: int


def post_card(url: str, body: dict[str, Any]) -> Posted:
    """Post a new card and return its id (`wait=true` makes Discord answer with the message)."""
    return _read(_send("POST", _address(url, wait="true"), body), card_id="")


def edit_card(url: str, message_id: str, body: dict[str, Any]) -> Posted:
    """Edit a card in place."""
    return _read(_send("PATCH", _address(url, f"/messages/{message_id}"), body), card_id=message_id)


def _address(url: str, path: str = "", **query: str) -> str:
    """Return the webhook's address with more path and query; its own query names a thread and must stay."""
    parts = urlsplit(url)
    asked = "&".join(filter(None, (parts.query, urlencode(query))))
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + path, asked, ""))


def _send(method: str, url: str, body: dict[str, Any]) -> Answer:
    try:
        return request(
            method,
            url,
            body=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "Countersign (webhook, 1)"},
        )
    except DeliveryError as error:
        if error.refused:
            raise DestinationGone(str(error)) from error
        raise Later(str(error)) from error


def _read(answer: Answer, *, card_id: str) -> Posted:
    try:
        said = json.loads(answer.body) if answer.body else {}
    except ValueError:
        said = {}
    said = said if isinstance(said, dict) else {}
    if answer.status in (200, 204):
        given = str(said.get("id") or "")
        # It becomes part of an address.
        return Posted(given if _ID.fullmatch(given) else card_id, answer.status)
    if answer.status == 429:
        raise Later("Discord asked to wait.", seconds=_wait(answer, said), status=429)
    if answer.status == 404 and said.get("code") == UNKNOWN_MESSAGE:
        raise CardGone("Somebody deleted the card in Discord.")
    if answer.status in (401, 403, 404):
        raise DestinationGone(f"Discord answered {answer.status}: the webhook was deleted or may not post.")
    if answer.status == 400:
        raise CardRefused(f"Discord refused the card (code {said.get('code')}).")
    raise Later(f"Discord answered {answer.status}.", status=answer.status)


def _wait(answer: Answer, said: dict[str, Any]) -> float:
    for told in (said.get("retry_after"), answer.headers.get("Retry-After")):
        try:
            seconds = float(told)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            continue
        if not math.isnan(seconds):
            return min(max(seconds, 0.1), 3600.0)
    return 5.0
