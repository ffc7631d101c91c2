"""Which addresses may be a Discord webhook, said in words where one may not, and how one is shown: never whole.

Whoever has the whole address can post there, so no sentence repeats it (docs/proofs.md, security 12, 13 and 15).
"""

import re
from urllib.parse import SplitResult, parse_qsl, urlsplit

from django.conf import settings

from common.origins import origin_of

HOSTS = ("discord.com", "discordapp.com", "ptb.discord.com", "canary.discord.com")
LIKE = "https://discord.com/api/webhooks/1180000000000000427/a-long-token"
_PATH = re.compile(r"/api(/v[0-9]{1,2})?/webhooks/(?P<id>[0-9]{1,20})/(?P<token>[A-Za-z0-9_-]{1,200})/?")
_THREAD = re.compile(r"[0-9]{1,20}")
_COPY = "In Discord, open the channel's settings, Integrations, Webhooks, and press “Copy Webhook URL”."


def problem_with(url: str) -> str:
    """Return in words why this address cannot be a destination, and what to do; empty where it can."""
    if re.search(r"[\s\\\x00-\x1f\x7f]", url) or not url.isascii():
        return f"The address holds a blank or a sign that no webhook has. {_COPY}"
    try:
        parts = urlsplit(url)
        origin = origin_of(url)
    except ValueError:
        return f"This is not an address. {_COPY}"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"This is not a whole address: one begins with https://discord.com/api/webhooks/. {_COPY}"
    if parts.username is not None or parts.fragment:
        return f"The address holds a name or a # that no webhook has. {_COPY}"
    is_discord = parts.hostname in HOSTS
    if origin not in {origin_of(one) for one in settings.OUTGOING_ALLOW}:
        if not is_discord:
            return (
                "This is not an address of Discord, and nothing else is posted to. It begins with "
                f"https://discord.com/api/webhooks/. {_COPY}"
            )
        if origin != f"https://{parts.hostname}:443":
            return "Discord's addresses begin with https:// and name no port. Put it in that way."
    return _problem_with_path(parts)


def _problem_with_path(parts: SplitResult) -> str:
    if not _PATH.fullmatch(parts.path):
        if parts.path.startswith("/channels/"):
            return f"This is the address of a channel, and the desk needs its webhook. {_COPY}"
        if re.fullmatch(r"/api(/v[0-9]+)?/webhooks/[0-9]+/?", parts.path):
            return f"The address ends too early: behind the number belongs a slash and a long token. {_COPY}"
        if re.fullmatch(rf"{_PATH.pattern.rstrip('?')}(github|slack|messages/.*)", parts.path):
            return "Leave out what stands behind the token: the address ends with it."
        return f"This is not the address of a webhook. One looks like {LIKE}. {_COPY}"
    asked = parse_qsl(parts.query, keep_blank_values=True)
    if any(name != "thread_id" or not _THREAD.fullmatch(value) for name, value in asked):
        return "Leave out what stands behind the question mark; only thread_id, with its number, may stay."
    return ""


def masked(url: str) -> str:
    """Return where an address leads without what would let somebody post there."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "••••"
    found = _PATH.fullmatch(parts.path)
    return f"{parts.netloc}/api/webhooks/…{found['id'][-4:]}/••••" if found else f"{parts.hostname}/••••"
