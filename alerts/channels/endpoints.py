"""Which addresses may be an Inngest event URL or the receiver of a signed webhook, said in words where one may not.

Both may hold a key, so no sentence repeats one, and none is ever shown whole (docs/proofs.md, security 12, 13, 15).
"""

import re
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from alerts.channels.discord.addresses import HOSTS as DISCORD
from common.origins import is_public, origin_of

LIKE_INNGEST = "https://inn.gs/e/an-event-key"
LIKE_ENDPOINT = "https://hooks.yourteam.example/countersign"
_INNGEST = "https://inn.gs:443"
_EVENT_PATH = re.compile(r"/e/(?P<key>[A-Za-z0-9_-]{1,200})/?")
_COPY = "In Inngest, open Manage, Event Keys, and copy an address that events are posted to."
# Of a key that is long enough to spare them, so many signs tell it from another.
_SHOWN, _LONG = 4, 24


def problem_with_inngest(url: str) -> str:
    """Return in words why this address cannot be an Inngest event URL, and what to do; empty where it can."""
    parts = _parts(url)
    if parts is None:
        return f"This is not a whole address: one looks like {LIKE_INNGEST}. {_COPY}"
    if problem := _problem_in_every_address(url, parts):
        return problem
    if not _is_allowed(url) and origin_of(url) != _INNGEST:
        return _problem_with_inngest_host(parts)
    found = _EVENT_PATH.fullmatch(parts.path)
    if not found:
        return f"This is not an address that events are posted to: one looks like {LIKE_INNGEST}. {_COPY}"
    if found["key"].startswith("signkey"):
        return f"This holds a signing key, which is for your functions alone. {_COPY}"
    return "Leave out what stands behind the question mark." if parts.query else ""


def problem_with_endpoint(url: str) -> str:
    """Return in words why no signed webhook can go to this address, and what to do; empty where one can."""
    parts = _parts(url)
    if parts is None:
        return f"This is not a whole address: one looks like {LIKE_ENDPOINT}."
    if problem := _problem_in_every_address(url, parts):
        return problem
    if origin_of(url) == origin_of(settings.PUBLIC_URL):
        return "This is the desk's own address. Put in that of the program which is to be told."
    if _is_allowed(url):
        return ""
    if parts.scheme != "https":
        return "The address has to begin with https://, so that nobody on the way can read what is posted."
    if parts.hostname in DISCORD:
        return "This is an address of Discord, which takes no signed webhooks. Choose “Discord webhook” instead."
    if origin_of(url) == _INNGEST:
        return "This is an address of Inngest. Choose “Inngest” instead."
    if _is_private(parts):
        return "This address is inside a private network, and OUTGOING_ALLOW does not name it. An operator can add it."
    return ""


def masked_endpoint(url: str) -> str:
    """Return where an address leads without what would let somebody post there."""
    parts = _parts(url)
    if parts is None:
        return "••••"
    place = parts.netloc.rpartition("@")[2]
    found = _EVENT_PATH.fullmatch(parts.path)
    if not found:
        return f"{place}/••••"
    key = found["key"]
    return f"{place}/e/…{key[-_SHOWN:]}" if len(key) >= _LONG else f"{place}/e/••••"


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        origin_of(url)
    except ValueError:
        return None
    return parts if parts.scheme in ("http", "https") and parts.hostname else None


def _problem_in_every_address(url: str, parts: SplitResult) -> str:
    if re.search(r"[\s\\\x00-\x1f\x7f]", url) or not url.isascii():
        return "The address holds a blank or a sign that no address has. Copy it again."
    if parts.username is not None or parts.fragment:
        return "The address holds a name or a # that is never sent. Leave it out."
    return ""


def _is_allowed(url: str) -> bool:
    return origin_of(url) in {origin_of(one) for one in settings.OUTGOING_ALLOW}


def _is_private(parts: SplitResult) -> bool:
    """Whether the address names a place of a private network outright; what a name leads to is looked at each time."""
    host = (parts.hostname or "").rstrip(".")
    try:
        return not is_public(host)
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal")) or "." not in host


def _problem_with_inngest_host(parts: SplitResult) -> str:
    if parts.hostname == "inn.gs":
        return "Inngest's addresses begin with https:// and name no port. Put it in that way."
    if parts.hostname and parts.hostname.endswith("inngest.com"):
        return f"This is an address of Inngest, but none that events are posted to. {_COPY}"
    return (
        f"This is not an address of Inngest: one looks like {LIKE_INNGEST}. For a server of your own, an operator can "
        f"name its origin in OUTGOING_ALLOW. {_COPY}"
    )
