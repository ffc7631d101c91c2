"""One-time codes that a person reads out or types: made, compared, and refused after a few wrong ones."""

from __future__ import annotations

import hmac
import re
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # models find open codes by MAX_WRONG
    from gateway.models.codes import OneTimeCode

LIFETIME = timedelta(hours=24)
MAX_WRONG = 5

# Without what looks alike: 0 and O, 1 and I and L.
_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
_NOT_PART = re.compile(r"[\s\-\u2010-\u2015]")


def new_code() -> str:
    """Return a code such as A7X-29K."""
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(6))
    return f"{letters[:3]}-{letters[3:]}"


def fits(given: str, waiting: OneTimeCode) -> bool:
    """Whether `given` is the code that is waited for; a wrong one is counted. The caller holds the row's lock.

    Dashes, blanks and case do not matter; the comparison takes the same time wherever the first difference is.
    """
    if hmac.compare_digest(_plain(given), _plain(waiting.code)):
        return True
    waiting.wrong_attempts += 1
    waiting.save(update_fields=["wrong_attempts"])
    return False


def _plain(code: str) -> bytes:
    return _NOT_PART.sub("", code).upper().encode()
