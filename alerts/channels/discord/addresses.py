"""Checks the addresses of Discord webhooks, and shortens them for display.

Anybody who has the whole address can post there, so no error repeats it.
"""

import re
from urllib.parse import parse_qsl, urlsplit

from alerts.channels.requests import (
    MASK,
    address_error,
    is_allowed,
    masked_host,
    split_address,
)
from common.origins import origin_of

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
