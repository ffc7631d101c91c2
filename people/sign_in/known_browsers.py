"""Browsers in which a person has signed in before. Each has a cookie for that account, so
that the wrong passwords of somebody else do not keep the person out.
"""

from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import get_random_string

_KEPT = timedelta(days=365)


def know(response: HttpResponse, email: str) -> None:
    """Let the browser be known to this account from now on."""
    response.set_signed_cookie(
        settings.KNOWN_BROWSER_COOKIE_NAME,
        get_random_string(22),
        salt=_salt(email),
        max_age=_KEPT,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def known_browser(request: HttpRequest, email: str) -> str:
    """Return a name of the browser; empty if it is not known to this account."""
    name = request.get_signed_cookie(
        settings.KNOWN_BROWSER_COOKIE_NAME, "", salt=_salt(email), max_age=_KEPT
    )
    return name or ""


def _salt(email: str) -> str:
    return f"people.sign_in.known_browsers {email.lower()}"
