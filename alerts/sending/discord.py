"""Speaks Discord's webhook protocol: posts a card, edits it, and says in one word what came of it."""

import json
import math
import re
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from alerts.places.addresses import problem_with
from alerts.sending.outcomes import CardGone, CardRefused, DestinationGone, Later, Posted, Tried
from courier.guarded import TOTAL_TIMEOUT, Answer, DeliveryError, request

UNKNOWN_MESSAGE = 10008
_ID = re.compile(r"[0-9]{1,32}")


def post_card(url: str, body: dict[str, Any]) -> Posted:
    """Post a new card and return its id (`wait=true` makes Discord answer with the message)."""
    return _read(_send("POST", _address(url, wait="true"), body), card_id="")


def edit_card(url: str, message_id: str, body: dict[str, Any]) -> Posted:
    """Edit a card in place."""
    return _read(_send("PATCH", _address(url, f"/messages/{message_id}"), body), card_id=message_id)


def _address(url: str, path: str = "", **query: str) -> str:
    """Return the webhook's address with more path and query; its own query names a thread and must stay."""
    if problem := problem_with(url):
        # What was let in may have been allowed by an origin that is allowed no more.
        raise DestinationGone(problem)
    parts = urlsplit(url)
    asked = "&".join(filter(None, (parts.query, urlencode(query))))
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + path, asked, ""))


def try_card(url: str, body: dict[str, Any], *, within: float) -> Tried:
    """Post once, for somebody who waits for it, and tell in words what came of it and what to do."""
    try:
        posted = _read(_send("POST", _address(url, wait="true"), body, limit=within), card_id="")
    except Later as later:
        return Tried(False, _later_in_words(later))
    except (DestinationGone, CardRefused, CardGone) as refused:
        return Tried(False, _REFUSED.get(refused.status or 0, str(refused)))
    if not posted.message_id:
        return Tried(False, "Something answered there, but not as Discord does. Look whether the address is right.")
    return Tried(True, "Discord took the test. Look into the channel: it stands there.")


_REFUSED = {
    400: "Discord did not accept the message. Look whether the webhook belongs to a text channel; one of a forum "
    "needs ?thread_id= with a number behind the address.",
    401: "Discord does not accept the token in the address. Copy the address again, and put it in whole.",
    403: "Discord does not let this webhook post. Look at the channel's settings, Integrations, or make another one.",
    404: "Discord knows no such webhook: it was deleted, or the address is not whole. Copy it again, or make another "
    "one in the channel's settings, Integrations, Webhooks.",
}


def _later_in_words(later: Later) -> str:
    if later.status == 429:
        seconds = max(1, math.ceil(later.seconds or 1))
        return f"Discord asks to wait {seconds} second{'' if seconds == 1 else 's'}. The address works; test it then."
    if later.status is not None and later.status < 400:
        return (
            f"Something answered there with {later.status}, as Discord never does. Look whether the address is right."
        )
    if later.status is not None:
        return f"Discord answered {later.status}: something is wrong on its side. Test again in a few minutes."
    is_late = "within" in str(later) or "Timeout" in str(later)
    said = "Discord did not answer in time." if is_late else "Discord could not be reached."
    return f"{said} Look whether this machine reaches discord.com at port 443, and test again."


def _send(method: str, url: str, body: dict[str, Any], *, limit: float = TOTAL_TIMEOUT) -> Answer:
    try:
        return request(
            method,
            url,
            body=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "Countersign (webhook, 1)"},
            limit=limit,
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
        raise CardGone("Somebody deleted the card in Discord.", status=404)
    if answer.status in (401, 403, 404):
        raise DestinationGone(
            f"Discord answered {answer.status}: the webhook was deleted or may not post.", status=answer.status
        )
    if answer.status == 400:
        raise CardRefused(f"Discord refused the card (code {said.get('code')}).", status=400)
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
