"""Rate limits of signing in and reauthentication, counted in PostgreSQL for all
processes.

The limits are in the settings (ACCOUNT_RATE_LIMITS). Pages for signed-in people are not
counted, so that a flood of sign-in attempts does not lock them out.
"""

import math
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.core import ratelimit
from allauth.core.internal.ratelimit import get_cache_key, parse_rates
from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse

View = Callable[..., HttpResponse]


def limited(action: str) -> Callable[[View], View]:
    """Limit a view's posts by ACCOUNT_RATE_LIMITS[`action`]; more are answered 429.

    Apply it after the method decorator.
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
    waits = []
    # The tried account is not known here: its own limit lasts at most this long.
    longest = max((rate.duration for rate in rates if rate.per == "key"), default=60)
    for rate in rates:
        if rate.per != "key":
            # Newest first, as allauth stores them.
            key = get_cache_key(
                request, app="allauth.account", action=action, rate=rate
            )
            tries = cache.get(key, [])
            if len(tries) >= rate.amount:
                waits.append(tries[-1] + rate.duration - time.time())
    wait = max(waits, default=0)
    request.retry_after = math.ceil(wait if wait > 0 else longest)  # type: ignore[attr-defined]
    answer: HttpResponse = ratelimit.respond_429(request)
    return answer
