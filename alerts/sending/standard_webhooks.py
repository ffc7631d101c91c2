"""Signs what goes out as the Standard Webhooks specification asks, and reads what the receiver answers."""

import base64
import hashlib
import hmac
import secrets

PREFIX = "whsec_"
# The specification asks for 24 to 64.
_BYTES = 32


def make_secret() -> str:
    """Return a new secret, as people copy it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def signature(secret: str, *, event_id: str, timestamp: int, body: bytes) -> str:
    """Return one signature of the version 1: an HMAC-SHA256 over id, time and the exact bytes."""
    signed = f"{event_id}.{timestamp}.".encode() + body
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
