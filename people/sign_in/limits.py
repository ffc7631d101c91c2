"""How often anybody may try to sign in, or to prove who they are: counted in PostgreSQL, for all processes together.

The limits themselves stand in the settings (ACCOUNT_RATE_LIMITS). Nothing of the desk that is open to somebody who is
signed in is counted, so that no flood of sign-ins closes it.
"""

import ipaddress
import math
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context, ratelimit
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal.ratelimit import Rate, get_cache_key, parse_rates
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse

from common.addresses import client_address

View = Callable[..., HttpResponse]
_TOO_MANY = {"too_many_login_attempts": "login_failed", "rate_limited": "login_failed"}


def limited(action: str) -> Callable[[View], View]:
    """Let a view take so many posts as ACCOUNT_RATE_LIMITS says for `action`; more are answered 429.

    It stands after the method and, for limits of a person, after the login.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def counted(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not ratelimit.consume(request, action=action):
                return too_many(request, action)
            return view(request, *args, **kwargs)

        return counted

    return decorate


def too_many(request: HttpRequest, action: str) -> HttpResponse:
    """Answer 429, with how long to wait."""
    rates = parse_rates(settings.ACCOUNT_RATE_LIMITS[action])
    waits = [seconds for rate in rates if rate.per != "key" and (seconds := _seconds_left(request, action, rate))]
    # Which account was tried is not known here: its own limit lasts so long at most.
    most = max((rate.duration for rate in rates if rate.per == "key"), default=60)
    request.retry_after = math.ceil(max(waits, default=most))  # type: ignore[attr-defined]
    answer: HttpResponse = ratelimit.respond_429(request)
    return answer


def _seconds_left(request: HttpRequest, action: str, rate: Rate) -> float:
    """Return how long one limit still holds; 0 where it does not."""
    # Newest first, as allauth keeps them.
    tries = cache.get(get_cache_key(request, app="allauth.account", action=action, rate=rate), [])
    return max(0.0, tries[-1] + rate.duration - time.time()) if len(tries) >= rate.amount else 0.0


class LimitedAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Counts by the address behind trusted proxies, and answers 429 where allauth would show a form's error."""

    def get_client_ip(self, request: HttpRequest) -> str:
        try:
            return str(ipaddress.ip_address(client_address(request)))
        except ValueError:
            # One counter for all who do not say where they are.
            return "0.0.0.0"  # noqa: S104 - nothing listens on it

    def validation_error(self, code: str, *args: Any) -> ValidationError:
        if code in _TOO_MANY:
            raise ImmediateHttpResponse(too_many(context.request, _TOO_MANY[code]))
        error: ValidationError = super().validation_error(code, *args)
        return error
