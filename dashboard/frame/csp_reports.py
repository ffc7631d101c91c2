"""Receives the reports that browsers send when they blocked something because of the
Content-Security-Policy, and logs them. Nothing is stored.

Anybody can send such reports, so each process limits how many it logs in a minute.
"""

import json
import logging
import time
from collections import Counter

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from common.addresses import client_address
from common.pages import DeskRequest
from common.unique_keys import DuplicateKey, unique_keys

log = logging.getLogger(__name__)

# How many bytes of a report are read.
MOST_OF_REPORT = 16 * 1024
# The limit for all addresses together, as a multiple of the limit for one.
_ADDRESSES = 10
# How many reports each address sent in the current minute, and which minute that is.
_counted: Counter[str] = Counter()
_minute = 0


@login_not_required
@csrf_exempt
@require_POST
def csp_report(request: DeskRequest) -> HttpResponse:
    """Log which directive was violated, and the blocked URL without its query."""
    if wait := seconds_to_wait(client_address(request), at=time.time()):
        return HttpResponse(status=429, headers={"Retry-After": str(wait)})
    try:
        report = json.loads(
            request.read(MOST_OF_REPORT), object_pairs_hook=unique_keys
        ).get("csp-report", {})
        blocked = str(report.get("blocked-uri", ""))[:200].partition("?")[0]
        log.warning(
            "policy blocked",
            extra={
                "directive": str(report.get("violated-directive", ""))[:80],
                "blocked": blocked,
            },
        )
    except DuplicateKey as error:
        return JsonResponse({"error": str(error)}, status=400)
    except (ValueError, AttributeError, RecursionError):
        log.warning("policy report unreadable")
    return HttpResponse(status=204)


def seconds_to_wait(address: str, *, at: float) -> int:
    """Count one more report, at the Unix time `at`. Return 0 if it is within the
    limits, otherwise in how many seconds the next one may be sent.
    """
    global _minute
    minute, second = divmod(int(at), 60)
    if minute != _minute:
        _counted.clear()
        _minute = minute
    most = settings.CSP_REPORTS_PER_MINUTE
    if _counted[address] >= most or _counted.total() >= most * _ADDRESSES:
        return 60 - second
    _counted[address] += 1
    return 0
