"""Says which addresses a subscription may have, as far as their text tells; names are judged at connect time."""

import re
import socket
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from common.origins import is_public, origin_of
from gateway.errors import Invalid

_NAME = re.compile(r"(?=.{1,253}$)[\w-]{1,63}(\.[\w-]{1,63})*\.?")
_DISPUTED = re.compile(r"[\s\\]")
_LOCAL_NAMES = ("localhost", "local", "internal", "localdomain")


def check_url(url: str) -> None:
    """Raise Invalid unless events may be sent to `url`."""
    parts, origin = _split(url)
    host = parts.hostname or ""
    if not host or parts.username is not None or parts.scheme not in ("https", "http"):
        raise Invalid("url: must be an https address without a user name.", field="url")
    if origin in {origin_of(one) for one in settings.OUTGOING_ALLOW}:
        return
    if parts.scheme != "https":
        raise Invalid("url: must be https. The operator can allow others in OUTGOING_ALLOW.", field="url")
    if _is_private(host):
        raise Invalid("url: is a private address. The operator can allow it in OUTGOING_ALLOW.", field="url")


def _split(url: str) -> tuple[SplitResult, str]:
    # Readers of URLs do not agree about these, so that one might check another host than the next one connects to.
    if _DISPUTED.search(url):
        raise Invalid("url: holds a blank or a backslash.", field="url")
    try:
        parts = urlsplit(url)
        return parts, origin_of(url)
    except ValueError:
        raise Invalid("url: is not an address.", field="url") from None


def _is_private(host: str) -> bool:
    """Whether the host is written as a private address or name; also in the odd forms that resolvers take for IPv4."""
    try:
        return not is_public(host)
    except ValueError:
        pass
    try:
        return not is_public(socket.inet_ntoa(socket.inet_aton(host)))
    except OSError:
        pass
    if not _NAME.fullmatch(host):
        raise Invalid("url: its host is not a name.", field="url")
    return host.rstrip(".").lower().split(".")[-1] in _LOCAL_NAMES
