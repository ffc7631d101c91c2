"""What the desk says about requests by their headers: the largest body of each URL, and
whose request it is.
"""

from typing import Any

from django.conf import settings
from django.http import parse_cookie

from alerts.channels.discord import interactions
from approvals.intake import webhooks
from dashboard.frame.csp_reports import MOST_OF_REPORT
from dashboard.serving.webhooks import PATH
from upstream.signatures import HEADER

# Forms, and a list of allowed recipients as a file, which may have a megabyte.
_MOST = 4 * 1024 * 1024
_INTERACTIONS = "/discord/interactions/"
SIGNED_PATHS = (PATH, _INTERACTIONS)
HEALTH_PATHS = ("/healthz", "/readyz")
SESSION_THREADS = 2
# Python runs one thread at a time, so a browser's pages take no longer one after the
# other; and others keep half of it.
IS_ONE_BY_ONE = True
# A path's prefix, the largest body there, and the required headers.
_RULES = (
    (PATH, webhooks.MAX_BODY, (HEADER,)),
    (
        _INTERACTIONS,
        interactions.MAX_BODY,
        (interactions.SIGNATURE, interactions.TIMESTAMP),
    ),
    ("/csp-report/", MOST_OF_REPORT, ()),
)


def most_body(environ: dict[str, Any]) -> int:
    """Return how many bytes of body to read; 0 if the headers show that it would be
    refused anyway.
    """
    for path, most, headers in _RULES:
        if environ["PATH_INFO"].startswith(path):
            names = (f"HTTP_{name.upper().replace('-', '_')}" for name in headers)
            return most if all(name in environ for name in names) else 0
    return _MOST


def most_of_sender(environ: dict[str, Any]) -> int:
    """Return the same for a large body: signatures can be checked only after it was
    read.
    """
    return most_body(environ)


def session_of(environ: dict[str, Any]) -> str:
    """Return the session's cookie; empty without one."""
    return parse_cookie(environ.get("HTTP_COOKIE", "")).get(
        settings.SESSION_COOKIE_NAME, ""
    )
