"""Whether Discord signed it: Ed25519 over the time stamp and the raw body, before anything of it is read."""

import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SIGNATURE, TIMESTAMP = "X-Signature-Ed25519", "X-Signature-Timestamp"
# What is older was answered long ago, or recorded by somebody; clocks differ by less than a minute.
OLDEST, AHEAD = 300, 60
_KEY = re.compile("[0-9a-fA-F]{64}")
_SIGNATURE = re.compile("[0-9a-fA-F]{128}")
_TIME = re.compile("[0-9]{1,12}", re.ASCII)


def read_key(text: str) -> Ed25519PublicKey | None:
    """Return the application's public key as its page at Discord shows it, or None where it is none."""
    if not _KEY.fullmatch(text):
        return None
    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    except ValueError:
        return None


def what_is_wrong(key: Ed25519PublicKey, *, body: bytes, signature: str, timestamp: str, now: float) -> str:
    """Return in a word why this does not count; empty where it does."""
    if not signature or not timestamp:
        return "missing"
    if not _SIGNATURE.fullmatch(signature) or not _TIME.fullmatch(timestamp):
        return "malformed"
    try:
        key.verify(bytes.fromhex(signature), timestamp.encode() + body)
    except InvalidSignature:
        return "forged"
    # Only of what is signed the time means anything.
    return "" if -AHEAD <= now - int(timestamp) <= OLDEST else "stale"
