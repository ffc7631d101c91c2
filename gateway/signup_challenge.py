"""The work that a machine does before it may ask for an account: ALTCHA's challenge, kept nowhere until solved.

Find the number with which SHA-256 of salt and number is the challenge. https://altcha.org/docs/v2/
"""

import hashlib
import hmac
import re
import secrets
from datetime import datetime, timedelta
from typing import Any

from django.utils.crypto import salted_hmac

from gateway.errors import BadRequest

MAX_NUMBER = 100_000
LIFETIME = timedelta(minutes=5)
# The end is marked: else digits of the number could be moved into the time, which leaves the hash as it is.
_EXPIRES = re.compile(r"\?expires=(\d{1,12})&$")


def new_challenge(*, now: datetime) -> dict[str, Any]:
    """Return a challenge, as clients get it."""
    salt = f"{secrets.token_hex(12)}?expires={int((now + LIFETIME).timestamp())}&"
    challenge = _digest(salt, secrets.randbelow(MAX_NUMBER + 1))
    return {
        "algorithm": "SHA-256",
        "challenge": challenge,
        "maxnumber": MAX_NUMBER,
        "salt": salt,
        "signature": _signature(challenge),
    }


def check_solution(*, challenge: str, number: int, salt: str, signature: str, now: datetime) -> None:
    """Check a solved challenge. Raises BadRequest."""
    ours = hmac.compare_digest(_signature(challenge), signature) and _digest(salt, number) == challenge
    expires = _EXPIRES.search(salt)
    if not ours or expires is None:
        raise BadRequest(
            "pow_solution: this does not solve a challenge of this gateway. Ask for another one.", code="wrong_solution"
        )
    if int(expires[1]) < now.timestamp():
        raise BadRequest("pow_solution: the challenge is over five minutes old. Ask for another one.", code="expired")


def _digest(salt: str, number: int) -> str:
    return hashlib.sha256(f"{salt}{number}".encode()).hexdigest()


def _signature(challenge: str) -> str:
    return salted_hmac("gateway.signup", challenge, algorithm="sha256").hexdigest()
