"""Speaks to Discord, by webhook or as the bot: posts, edits, and says in one word what came of it.

Every request goes by the limits (rates.py), and every answer teaches them. No sentence and no log tells an address's
token or the bot's.
"""

import json
import math
import re
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from django.conf import settings

from alerts.channels.discord import rates
from alerts.channels.discord.addresses import HOSTS, problem_with
from alerts.channels.outcomes import CardGone, CardRefused, DestinationGone, Later, Posted, Tried
from alerts.models import Destination
from outgoing.guarded import TOTAL_TIMEOUT, Answer, DeliveryError, request

UNKNOWN_MESSAGE = 10008
# Of an answer so much is kept: its error, or the beginning of the message that was made.
MOST_KEPT = 4000
_KEPT_HEADERS = ("Retry-After", "X-RateLimit-Global", "X-RateLimit-Scope", "X-RateLimit-Remaining", "Via")
_ID = re.compile(r"[0-9]{1,32}")
_WEBHOOK = re.compile(r"/webhooks/([0-9]+)/([A-Za-z0-9_-]+)")


@dataclass(frozen=True)
class _Way:
    """How one destination is spoken to: its address, who we are there, and what must not be told."""

    base: str
    query: str
    headers: dict[str, str]
    place: str
    target: str
    secret: str
    is_bot: bool


def post(destination: Destination, body: dict[str, Any]) -> Posted:
    """Post a new message and return its id."""
    return _speak(destination, "POST", body)


def edit(destination: Destination, message_id: str, body: dict[str, Any]) -> Posted:
    """Edit a message in place."""
    return _speak(destination, "PATCH", body, message_id=message_id)


def try_post(destination: Destination, body: dict[str, Any], *, within: float) -> Tried:
    """Post once, for somebody who waits for it, and tell in words what came of it and what to do."""
    is_bot = destination.kind == Destination.Kind.DISCORD_BOT
    try:
        posted = _speak(destination, "POST", body, limit=within)
    except Later as later:
        return Tried(False, _later_in_words(later))
    except (DestinationGone, CardRefused, CardGone) as refused:
        return Tried(False, (_REFUSED_BOT if is_bot else _REFUSED).get(refused.status or 0, str(refused)))
    if not posted.message_id:
        return Tried(False, "Something answered there, but not as Discord does. Look whether the address is right.")
    return Tried(True, "Discord took the test. Look into the channel: it stands there.", posted.channel)


_REFUSED = {
    400: "Discord did not accept the message. Look whether the webhook belongs to a text channel; one of a forum "
    "needs ?thread_id= with a number behind the address.",
    401: "Discord does not accept the token in the address. Copy the address again, and put it in whole.",
    403: "Discord does not let this webhook post. Look at the channel's settings, Integrations, or make another one.",
    404: "Discord knows no such webhook: it was deleted, or the address is not whole. Copy it again, or make another "
    "one in the channel's settings, Integrations, Webhooks.",
}
_REFUSED_BOT = {
    400: "Discord did not accept the message. Look whether the channel is one for text.",
    401: "Discord does not accept the bot's token. Look at DISCORD_BOT_TOKEN: the token was reset, or is not whole.",
    403: "Discord does not let the bot post there. Give it View Channel, Send Messages and Embed Links there.",
    404: "Discord knows no such channel, or the bot is not on its server. Copy the channel's id again, and invite the "
    "bot.",
}


def _later_in_words(later: Later) -> str:
    if later.seconds is not None:
        seconds = max(1, math.ceil(later.seconds))
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


def _speak(
    destination: Destination,
    method: str,
    body: dict[str, Any],
    *,
    message_id: str = "",
    limit: float = TOTAL_TIMEOUT,
) -> Posted:
    way = _way(destination)
    scope = rates.Scope(way.place, way.target, method)
    rests = 0.0
    try:
        if wait := rates.take(scope):
            raise Later("Its limit is used up for the moment.", seconds=wait)
    except rates.Unknown:
        rests = rates.ALONE_SECONDS
    answer = _send(way, method, body, message_id=message_id, limit=limit)
    said = _said(answer)
    told = str(said.get("channel_id") or "")
    channel = told if answer.status == 200 and _ID.fullmatch(told) else ""
    rates.learn(scope, status=answer.status, headers=answer.headers, channel=channel)
    return replace(_read(answer, said, way, card_id=message_id, rests=rests), channel=channel)


def _way(destination: Destination) -> _Way:
    agent = {"Content-Type": "application/json", "User-Agent": "Countersign (webhook, 1)"}
    if destination.kind == Destination.Kind.DISCORD_BOT:
        token = settings.DISCORD_BOT_TOKEN
        if not token:
            raise DestinationGone("DISCORD_BOT_TOKEN is not set, so the bot cannot post.")
        if not _ID.fullmatch(destination.channel):
            raise DestinationGone("The destination names no channel.")
        url = f"{settings.DISCORD_API_URL.rstrip('/')}/channels/{destination.channel}"
        agent |= {"Authorization": f"Bot {token}", "User-Agent": f"DiscordBot ({settings.PUBLIC_URL}, 1)"}
        return _Way(url, "", agent, _place(url), destination.channel, token, True)
    if problem := problem_with(destination.url):
        # What was let in may have been allowed by an origin that is allowed no more.
        raise DestinationGone(problem)
    parts = urlsplit(destination.url)
    found = _WEBHOOK.search(parts.path)
    webhook, token = found.groups() if found else ("", "")
    url = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
    return _Way(url, parts.query, agent, _place(url), webhook, token, False)


def _place(url: str) -> str:
    parts = urlsplit(url)
    return "discord" if parts.hostname in HOSTS else parts.netloc


def _send(way: _Way, method: str, body: dict[str, Any], *, message_id: str, limit: float) -> Answer:
    try:
        url = _address(way, method, message_id, has_buttons=bool(body.get("components")))
        return request(method, url, body=json.dumps(body).encode(), headers=way.headers, limit=limit)
    except DeliveryError as error:
        if error.refused:
            raise DestinationGone(str(error)) from error
        raise Later(str(error)) from error


def _address(way: _Way, method: str, message_id: str, *, has_buttons: bool) -> str:
    if way.is_bot:
        return f"{way.base}/messages/{message_id}" if message_id else f"{way.base}/messages"
    # Makes Discord answer with the message; and a webhook shows buttons only when it is asked to. Its own query names
    # a thread and must stay.
    more = ({"wait": "true"} if method == "POST" else {}) | ({"with_components": "true"} if has_buttons else {})
    query = "&".join(filter(None, (way.query, urlencode(more))))
    path = f"/messages/{message_id}" if message_id else ""
    return f"{way.base}{path}{'?' if query else ''}{query}"


def _said(answer: Answer) -> dict[str, Any]:
    try:
        said = json.loads(answer.body) if answer.body else {}
    except ValueError:
        said = {}
    return said if isinstance(said, dict) else {}


def _read(answer: Answer, said: dict[str, Any], way: _Way, *, card_id: str, rests: float) -> Posted:
    told = _for_log(answer, way)
    if answer.status in (200, 204):
        given = str(said.get("id") or "")
        # It becomes part of an address.
        return Posted(given if _ID.fullmatch(given) else card_id, answer.status, answer=told, rests=rests)
    if answer.status == 429:
        everywhere = said.get("global") is True or "X-RateLimit-Global" in answer.headers
        raise Later(
            "Discord asked to wait.", seconds=_wait(answer, said), status=429, answer=told, everywhere=everywhere
        )
    if answer.status == 404 and said.get("code") == UNKNOWN_MESSAGE:
        raise CardGone("Somebody deleted the card in Discord.", status=404, answer=told)
    if answer.status in (401, 403, 404):
        why = "the bot may not post there" if way.is_bot else "the webhook was deleted or may not post"
        raise DestinationGone(f"Discord answered {answer.status}: {why}.", status=answer.status, answer=told)
    if answer.status == 400:
        raise CardRefused(f"Discord refused the card (code {said.get('code')}).", status=400, answer=told)
    raise Later(f"Discord answered {answer.status}.", status=answer.status, answer=told)


def _for_log(answer: Answer, way: _Way) -> str:
    """Return what came back, without what would let somebody post there, should it be repeated."""
    lines = [f"{name}: {answer.headers[name]}" for name in _KEPT_HEADERS if name in answer.headers]
    text = "\n".join([*lines, "", answer.body[:MOST_KEPT].decode(errors="replace")]).strip()
    text = text.replace("\0", "\ufffd")
    return (text.replace(way.secret, "…") if way.secret else text)[:MOST_KEPT]


def _wait(answer: Answer, said: dict[str, Any]) -> float:
    for told in (said.get("retry_after"), answer.headers.get("Retry-After")):
        try:
            seconds = float(told)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            continue
        if not math.isnan(seconds):
            return min(max(seconds, 0.1), 86400.0)
    return 5.0
