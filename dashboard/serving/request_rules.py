"""The desk's rules for requests, by their headers alone: how large a body each path
accepts, and to which session a request belongs. `bridge.py` and `usage.py` ask them;
`gateway.request_rules` has the same names for the gateway.
"""

from typing import Any

from django.conf import settings
from django.http import parse_cookie

from alerts.channels.discord import interactions as discord
from alerts.channels.signed_requests import MAX_BODY
from alerts.channels.slack import interactions as slack
from approvals.intake import webhooks
from dashboard.frame.csp_reports import MOST_OF_REPORT
from dashboard.serving.webhooks import PATH
from people.sign_in.sessions import is_signed
from upstream.signatures import HEADER

# For all other paths, in bytes. A form can upload a list of allowed recipients, which
# may have a megabyte.
_MOST = 4 * 1024 * 1024
_DISCORD = "/discord/interactions/"
_SLACK = "/slack/interactions/"
# The beginnings of the paths whose requests are signed, and have no session.
SIGNED_PATHS = (PATH, _DISCORD, _SLACK)
HEALTH_PATHS = ("/healthz", "/readyz")
# How many threads one session may use at a time.
SESSION_THREADS = 2
# Whether a session's quick requests run one after the other, so that it uses more than
# one thread only for requests that take long. Python runs one thread at a time, so a
# browser's requests are as fast so as at once, and more is left for other people.
IS_ONE_BY_ONE = True
# The beginning of a path, its largest body in bytes, and the headers it requires.
_RULES = (
    (PATH, webhooks.MAX_BODY, (HEADER,)),
    (_DISCORD, MAX_BODY, (discord.SIGNATURE, discord.TIMESTAMP)),
    (_SLACK, MAX_BODY, (slack.SIGNATURE, slack.TIMESTAMP)),
    ("/csp-report/", MOST_OF_REPORT, ()),
)


def most_body(environ: dict[str, Any]) -> int:
    """Return how many bytes of a body to read, without blocking; 0 if a required header
    is missing, so that the request is refused anyway.
    """
    for path, most, headers in _RULES:
        if environ["PATH_INFO"].startswith(path):
            names = (f"HTTP_{name.upper().replace('-', '_')}" for name in headers)
            return most if all(name in environ for name in names) else 0
    return _MOST


# How many bytes of a large body to read, for which the database may be asked. For the
# desk that is the same: signatures can only be checked after the body was read.
most_of_sender = most_body


def session_of(environ: dict[str, Any]) -> str:
    """Return the value of the session cookie; empty if there is none, or it was given
    to nobody who signed in.
    """
    cookies = parse_cookie(environ.get("HTTP_COOKIE", ""))
    key = cookies.get(settings.SESSION_COOKIE_NAME, "")
    return key if is_signed(key) else ""
