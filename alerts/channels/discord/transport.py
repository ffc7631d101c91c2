"""Speaks to Discord, by webhook or as the bot: posts, edits, and says what came of it.

Every request goes by the limits (rates.py), and every answer updates them. No sentence
and no log contains an address's token or the bot's.
"""

import json
import math
import re
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.conf import settings

from alerts.channels.base import (
    CardGone,
    CardRefused,
    DestinationGone,
    Posted,
    RetryLater,
)
from alerts.channels.discord import rates
from alerts.channels.requests import (
    MASK,
    address_error,
    is_allowed,
    json_object,
    masked_host,
    redacted,
    send,
    split_address,
)
from alerts.models import Destination
from common.origins import origin_of
from outgoing.guarded import TOTAL_TIMEOUT, Answer

UNKNOWN_MESSAGE = 10008
_LOGGED_HEADERS = (
    "Retry-After",
    "X-RateLimit-Global",
    "X-RateLimit-Scope",
    "X-RateLimit-Remaining",
    "Via",
)
_ID = re.compile(r"[0-9]{1,32}")
_WEBHOOK = re.compile(r"/webhooks/([0-9]+)/([A-Za-z0-9_-]+)")


@dataclass(frozen=True)
class _Target:
    """How one destination is spoken to: its address, who we are there, its limit, and
    what must not be logged.
    """

    base: str
    query: str
    headers: dict[str, str]
    limit_key: str
    secret: str
    is_bot: bool

    @property
    def service(self) -> str:
        """The same for all of Discord; a stand-in has limits of its own."""
        parts = urlsplit(self.base)
        return "discord" if parts.hostname in HOSTS else parts.netloc


def speak(
    destination: Destination,
    method: str,
    body: dict[str, Any],
    *,
    message_id: str = "",
    limit: float = TOTAL_TIMEOUT,
) -> Posted:
    """Post a new message (POST), or edit one in place (PATCH), and return its id."""
    target = _target(destination)
    scope = rates.Scope(target.service, target.limit_key, method)
    pause = 0.0
    try:
        if wait := rates.take(scope):
            raise RetryLater("Its rate limit is used up for now.", seconds=wait)
    except rates.Unknown:
        pause = rates.ALONE_SECONDS
    url = f"{target.base}/messages" if target.is_bot or message_id else target.base
    if message_id:
        url += f"/{message_id}"
    if not target.is_bot:
        # "wait" makes Discord answer with the message, and a webhook shows buttons only
        # when asked to. The webhook's own query names a thread and must stay.
        asked = {}
        if method == "POST":
            asked["wait"] = "true"
        if body.get("components"):
            asked["with_components"] = "true"
        query = "&".join(filter(None, (target.query, urlencode(asked))))
        url += f"?{query}" if query else ""
    answer = send(
        method, url, json.dumps(body).encode(), headers=target.headers, limit=limit
    )
    result = json_object(answer)
    channel = str(result.get("channel_id") or "")
    channel = channel if answer.status == 200 and _ID.fullmatch(channel) else ""
    rates.learn(scope, status=answer.status, headers=answer.headers, channel=channel)
    return replace(
        _read(answer, result, target, message_id=message_id),
        pause=pause,
        channel=channel,
    )


def _target(destination: Destination) -> _Target:
    if destination.kind == "discord_bot":
        token = settings.DISCORD_BOT_TOKEN
        if not token:
            raise DestinationGone(
                "DISCORD_BOT_TOKEN is not set, so the bot cannot post."
            )
        if not _ID.fullmatch(destination.channel):
            raise DestinationGone("The destination has no channel.")
        url = f"{settings.DISCORD_API_URL.rstrip('/')}/channels/{destination.channel}"
        headers = {
            "Authorization": f"Bot {token}",
            "User-Agent": f"DiscordBot ({settings.PUBLIC_URL}, 1)",
        }
        return _Target(url, "", headers, destination.channel, token, is_bot=True)
    if error := webhook_error(destination.url):
        # It may have been accepted because of an origin that is no longer allowed.
        raise DestinationGone(error)
    parts = urlsplit(destination.url)
    found = _WEBHOOK.search(parts.path)
    webhook, token = found.groups() if found else ("", "")
    url = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
    headers = {"User-Agent": "Countersign (webhook, 1)"}
    return _Target(url, parts.query, headers, webhook, token, is_bot=False)


def _read(
    answer: Answer, result: dict[str, Any], target: _Target, *, message_id: str
) -> Posted:
    status = answer.status
    stored = redacted(answer, [target.secret], headers=_LOGGED_HEADERS)
    if status in (200, 204):
        new_id = str(result.get("id") or "")
        # It becomes part of an address.
        return Posted(
            new_id if _ID.fullmatch(new_id) else message_id, status, answer=stored
        )
    answered: dict[str, Any] = {"status": status, "answer": stored}
    if status == 429:
        raise RetryLater(
            "Discord asked to wait.",
            seconds=_wait_seconds(answer, result),
            whole_service=result.get("global") is True
            or "X-RateLimit-Global" in answer.headers,
            **answered,
        )
    if status == 404 and result.get("code") == UNKNOWN_MESSAGE:
        raise CardGone("Somebody deleted the card in Discord.", **answered)
    if status in (401, 403, 404):
        why = (
            "the bot may not post there"
            if target.is_bot
            else "the webhook was deleted or may not post"
        )
        raise DestinationGone(f"Discord answered {status}: {why}.", **answered)
    if status == 400:
        raise CardRefused(
            f"Discord refused the card (code {result.get('code')}).", **answered
        )
    raise RetryLater(f"Discord answered {status}.", **answered)


def _wait_seconds(answer: Answer, result: dict[str, Any]) -> float:
    for value in (result.get("retry_after"), answer.headers.get("Retry-After")):
        try:
            seconds = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            continue
        if not math.isnan(seconds):
            return min(max(seconds, 0.1), 86400.0)
    return 5.0


HOSTS = ("discord.com", "discordapp.com", "ptb.discord.com", "canary.discord.com")
EXAMPLE = "https://discord.com/api/webhooks/1180000000000000427/a-long-token"
HINT = "In Discord, open the channel's settings, Integrations, Webhooks, and press “Copy Webhook URL”."
_PATH = re.compile(
    r"/api(/v[0-9]{1,2})?/webhooks/(?P<id>[0-9]{1,20})/(?P<token>[A-Za-z0-9_-]{1,200})/?"
)
_THREAD = re.compile(r"[0-9]{1,20}")


def webhook_error(url: str) -> str:
    """Return in words why this address cannot be a destination, and what to do; empty
    where it can.
    """
    if error := address_error(url, example=EXAMPLE, hint=HINT):
        return error
    parts = urlsplit(url)
    if not is_allowed(url):
        if parts.hostname not in HOSTS:
            return f"This is not a Discord webhook address: it starts with https://discord.com/api/webhooks/. {HINT}"
        if origin_of(url) != f"https://{parts.hostname}:443":
            return "Discord's addresses start with https:// and have no port. Enter it without one."
    if not _PATH.fullmatch(parts.path):
        if parts.path.startswith("/channels/"):
            return (
                f"This is the address of a channel. The desk needs its webhook. {HINT}"
            )
        if re.fullmatch(r"/api(/v[0-9]+)?/webhooks/[0-9]+/?", parts.path):
            return f"The address is incomplete: after the number comes a slash and a long token. {HINT}"
        if re.fullmatch(
            rf"{_PATH.pattern.rstrip('?')}(github|slack|messages/.*)", parts.path
        ):
            return "Remove everything after the token."
        return f"This is not the address of a webhook. One looks like {EXAMPLE}. {HINT}"
    query = parse_qsl(parts.query, keep_blank_values=True)
    if any(
        name != "thread_id" or not _THREAD.fullmatch(value) for name, value in query
    ):
        return "Remove everything after the question mark, except thread_id and its number."
    return ""


def masked_webhook(url: str) -> str:
    """Return where a webhook's address leads, with the end of its number."""
    parts = split_address(url)
    found = _PATH.fullmatch(parts.path) if parts else None
    if parts is None or found is None:
        return masked_host(url)
    return f"{parts.netloc}/api/webhooks/…{found['id'][-4:]}/{MASK}"
