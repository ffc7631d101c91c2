"""Codes of authenticator apps (TOTP, RFC 6238): each is accepted once over all
processes.
"""

import hmac
import logging
import secrets
import time
from base64 import b32encode
from urllib.parse import quote, urlencode

from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from common.encryption import decrypt

log = logging.getLogger(__name__)

PERIOD = 30
DIGITS = 6
# A clock may be half a minute off, either way.
DRIFT = 1


def make_secret() -> str:
    """Return a new secret in the encoding that apps expect."""
    return b32encode(secrets.token_bytes(20)).decode()


def app_uri(secret: str, *, email: str) -> str:
    """Return the URI that a QR code carries to the app."""
    return f"otpauth://totp/{quote('Countersign:' + email)}?{urlencode({'secret': secret, 'issuer': 'Countersign'})}"


def is_code(code: str) -> bool:
    """Whether this looks like a code: six digits, which may contain spaces."""
    return _digits(code) != ""


def counter_of(secret: str, code: str, *, after: int) -> int | None:
    """Return the time step of `code` if it is valid now and later than `after`;
    otherwise None.
    """
    digits = _digits(code)
    current = int(time.time()) // PERIOD
    for counter in range(max(current - DRIFT, after + 1), current + DRIFT + 1):
        if hmac.compare_digest(format_hotp_value(hotp_value(secret, counter)), digits):
            return counter
    return None


def use_code(*, person_id: int, code: str) -> Authenticator | None:
    """Use a code up and return its app; None if it is wrong, too old, or used.

    The row is locked and stores the last time step that was used. So of two processes
    that get the same code only one accepts it, and a code that somebody else has seen
    is useless afterwards.
    """
    with transaction.atomic():
        app = (
            Authenticator.objects.select_for_update()
            .filter(user=person_id, type=Authenticator.Type.TOTP)
            .first()
        )
        if app is None:
            return None
        try:
            secret = decrypt(app.data["secret"])
        except ImproperlyConfigured:
            # If the secret cannot be decrypted, no code is valid; recovery codes still
            # work.
            log.error(
                "no key reads the secret of an authenticator app",
                extra={"person": person_id},
            )
            return None
        counter = counter_of(secret, code, after=app.data.get("used", 0))
        if counter is None:
            return None
        app.data["used"] = counter
        app.save(update_fields=["data"])
        return app


def _digits(code: str) -> str:
    digits = "".join(code.split())
    is_code = len(digits) == DIGITS and digits.isascii() and digits.isdecimal()
    return digits if is_code else ""
