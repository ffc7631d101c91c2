"""The error pages. Each says what is wrong and what to do, and none shows a
traceback.
"""

import logging
import sys
from typing import Any

from django.conf import settings
from django.core.exceptions import TooManyFieldsSent
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.csrf import requires_csrf_token

from common.disk import is_disk_full_error, is_full
from common.logs import trace_id
from common.postgres import is_away, is_read_only_error
from parsing.client import ParserUnavailable
from people.roles import grants_of, in_words
from people.sign_in.reauthentication import offer_again, own_address

log = logging.getLogger(__name__)

_NOTHING_LOST = "Nothing that was saved is lost. Check the status of the message before you try again."
_MAKE_ROOM = f"The operator of this desk must free disk space; no restart is needed. {_NOTHING_LOST}"


def _error(
    request: HttpRequest | None, status: int, title: str, sentence: str, **more: Any
) -> HttpResponse:
    """Return the error page. It is rendered without the request where the layout could
    otherwise query the database, or whatever else is broken.
    """
    context = {"status": status, "title": title, "sentence": sentence, **more}
    return render(request, "error.html", context, status=status)


@requires_csrf_token
def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The page for 400. Django also uses it if the Host header is not in
    ALLOWED_HOSTS.
    """
    sentence = (
        "Nothing was decided. Go back and try again. If you run this desk: "
        "add the host name in the address to ALLOWED_HOSTS."
    )
    if isinstance(exception, TooManyFieldsSent):
        most = settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
        sentence = f"Nothing was decided. The address or form has more than {most:,} fields. Go back and send fewer."
    return _error(None, 400, "This request cannot be read", sentence)


@requires_csrf_token
def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The page for 403. It names the role that it takes, if the view said it, and those
    that the person has.
    """
    needed = str(exception) or "Your roles do not include it."
    yours = ""
    if request.user.is_authenticated:
        yours = f" You are: {in_words(grants_of(request.user))}."
    return _error(request, 403, "You may not do this", f"{needed}{yours}")


@requires_csrf_token
def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The page for 403 if a form's CSRF token is missing or old."""
    if request.path == reverse("account_login") and request.user.is_authenticated:
        # They signed in already, in another tab or by the first of two presses.
        return redirect(own_address(request, request.POST.get("next", "")))
    if answer := offer_again(request):
        return answer
    log.warning("form token refused", extra={"reason": reason})
    return _error(
        request,
        403,
        "This form has expired",
        "Nothing was decided. Go back, reload the page and try again.",
    )


@requires_csrf_token
def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The page for 404, with the reason if one of our own views gave one."""
    sentence = "There is no page at this address. Check it, or go to the queue."
    if exception.args and isinstance(exception.args[0], str):
        sentence = exception.args[0] or sentence
    return _error(request, 404, "Page not found", sentence)


def only_pressed(request: HttpRequest) -> HttpResponse:
    """The page for 405: a URL that only accepts POST was opened as a page. That can
    happen after signing in again.
    """
    match = request.resolver_match
    message = match.kwargs.get("public_id") if match else None
    return _error(
        request,
        405,
        "This address needs a button",
        "Opening this address changes nothing. Open the message or the queue, and use the button there.",
        message=reverse("message", kwargs={"public_id": message}) if message else "",
    )


def too_many_tries(request: HttpRequest) -> HttpResponse:
    """The page for 429: too many attempts to sign in or reauthenticate, or attempts
    that cannot be counted because the disk is full.
    """
    if is_full(settings.DATA_DIR):
        return _disk_full()
    seconds = int(getattr(request, "retry_after", 60))
    # It uses the layout of the sign-in pages, which needs no query.
    response = render(request, "429.html", {"minutes": -(-seconds // 60)}, status=429)
    response.headers["Retry-After"] = str(seconds)
    return response


@requires_csrf_token
def server_error(request: HttpRequest) -> HttpResponse:
    """The page for 500; or for 503, while PostgreSQL or the parser does not answer, or
    PostgreSQL cannot write.
    """
    error = sys.exc_info()[1]
    if isinstance(error, ParserUnavailable):
        return _unavailable(
            "Messages cannot be read at this moment",
            f"The program that reads them is busy or restarting. Reload soon. {_NOTHING_LOST}",
        )
    if is_disk_full_error(error):
        return _disk_full()
    if is_read_only_error(error):
        return _unavailable(
            "The database takes no changes",
            "This was not saved. Go back to find what you typed, and try again in a moment. Pages that only show "
            f"something still work. {_NOTHING_LOST}",
        )
    if is_away(error):
        if is_full(settings.DATA_DIR):
            return _unavailable(
                "The disk is full", f"The database has stopped. {_MAKE_ROOM}"
            )
        return _unavailable(
            "The database is not responding",
            f"Reload the page in a moment. {_NOTHING_LOST}",
        )
    return _error(
        None,
        500,
        "The desk had an error",
        f"Reload the page in a moment. {_NOTHING_LOST}",
        trace=trace_id.get(),
    )


def _disk_full() -> HttpResponse:
    cannot = "This cannot be saved. Go back to find what you typed. Pages that only show something still work."
    return _unavailable("The disk is full", f"{cannot} {_MAKE_ROOM}")


def _unavailable(title: str, sentence: str) -> HttpResponse:
    response = _error(None, 503, title, sentence)
    response.headers["Retry-After"] = "10"
    return response
