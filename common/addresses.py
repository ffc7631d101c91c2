"""Where a request came from. What a proxy says of it counts only from one that is named in TRUSTED_PROXIES."""

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """Return the network address of whoever asks."""
    peer = str(request.META.get("REMOTE_ADDR", ""))
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    return forwarded.split(",")[-1].strip() if forwarded and peer in settings.TRUSTED_PROXIES else peer


def came_unencrypted(request: HttpRequest) -> bool:
    """Whether a trusted proxy says that the request reached it over plain http."""
    scheme = request.META.get("HTTP_X_FORWARDED_PROTO", "")
    return scheme == "http" and str(request.META.get("REMOTE_ADDR", "")) in settings.TRUSTED_PROXIES
