"""Tries every 20 seconds what pages have no time for: asks PUBLIC_URL which desk it is,
as browsers and MultiMail's webhooks do, and looks for the newest seals in the seals'
file. The results are cached for the checks.
"""

import socket
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

from django.conf import settings
from django.core.cache import cache
from django.utils import timezone
from django.utils.crypto import salted_hmac

from audit.sealing.anchors import missing_lines
from common.exchange import tls_context
from common.origins import origin_of
from outgoing import guarded

# The keys of the results in the cache, and for how many seconds one counts.
ADDRESS = "probe-address"
SEALS = "probe-seals"
_KEPT = 120
_LIMIT = 5
# So many of the newest seals are looked for; the daily check looks for all.
_SEALS = 200
# As OpenSSL numbers them: self-signed, or signed by somebody unknown.
_UNKNOWN_AUTHORITY = (18, 19, 20, 21)


@dataclass(frozen=True)
class OwnAddress:
    """Why PUBLIC_URL does not lead to this desk, empty if it does; `is_certain` is False
    if others may reach it. `dates` has from when its certificate ends too soon, and when
    it ends.
    """

    error: str = ""
    is_certain: bool = True
    dates: tuple[datetime, ...] = ()
    at: datetime = field(default_factory=timezone.now)


def desk_id() -> str:
    """Return what tells this desk from others, and is the same on all its hosts."""
    return salted_hmac("countersign.desk", "").hexdigest()[:16]


def probe() -> str:
    """Try both and cache the results. Return that of the address in words."""
    address = _ask_own_address()
    cache.set_many({ADDRESS: address, SEALS: missing_lines(_SEALS)}, _KEPT)
    return address.error or "reached"


def _ask_own_address() -> OwnAddress:
    url = f"{settings.PUBLIC_URL}/healthz"
    dates: tuple[datetime, ...] = ()
    try:
        if url.startswith("https:"):
            dates = _certificate(url)
        answer = guarded.request(
            "GET", url, body=b"", headers={}, allow=[origin_of(url)], limit=_LIMIT
        )
    except ssl.SSLCertVerificationError as error:
        # This host may lack the certificate authority that people's browsers know.
        is_certain = error.verify_code not in _UNKNOWN_AUTHORITY
        return OwnAddress(error.verify_message, is_certain)
    except (TimeoutError, guarded.TooLate):
        return OwnAddress("no answer", False, dates)
    except (OSError, guarded.DeliveryError) as error:
        return OwnAddress(str(error))
    if desk_id().encode() in answer.body:
        return OwnAddress(dates=dates)
    # A proxy may ask everybody to sign in first.
    asks = answer.status in (302, 303, 401, 403)
    said = f"status {answer.status}, not from this desk"
    return OwnAddress(said, not asks, dates)


def _certificate(url: str) -> tuple[datetime, ...]:
    """Return when nine tenths of the certificate's time are over, and when all is.
    Raises OSError, also if browsers do not accept it.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    with (
        socket.create_connection((host, parts.port or 443), _LIMIT) as plain,
        tls_context().wrap_socket(plain, server_hostname=host) as tls,
    ):
        shown = tls.getpeercert() or {}
    begins, ends = (
        ssl.cert_time_to_seconds(str(shown[name])) for name in ("notBefore", "notAfter")
    )
    soon = ends - (ends - begins) / 10
    return tuple(datetime.fromtimestamp(at, UTC) for at in (soon, ends))
