"""What a seal signs, byte by byte as docs/ledger.md describes it, and the keys that it is signed with.

The Ed25519 keys of SEAL_KEY, the newest first, are never in the database.
"""

import base64
import binascii
import hashlib
from datetime import UTC
from functools import cache
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from audit.models import Seal
from audit.verifier.countersign_verify import fingerprint_of
from common.fingerprint import canonical_json

_SIZE = 32


class NoKey(Exception):
    """There is nothing to sign with."""

    def __init__(self) -> None:
        super().__init__("SEAL_KEY is not set, so the ledger is not sealed.")


def check_keys() -> None:
    """Raise ImproperlyConfigured, in a sentence that names no key, where one of them is none."""
    _keys(tuple(settings.SEAL_KEYS))


def public_keys() -> list[bytes]:
    """Return the raw public keys, the newest first; none where the ledger is not sealed."""
    return list(_keys(tuple(settings.SEAL_KEYS)))


def public_key() -> bytes:
    """Return the raw public key that seals are signed with now. Raises NoKey."""
    if found := public_keys():
        return found[0]
    raise NoKey


def sign(data: bytes, *, key: bytes) -> bytes:
    """Return the signature by the one of our keys that has this public one."""
    return _keys(tuple(settings.SEAL_KEYS))[key].sign(data)


def is_signed(data: bytes, signature: bytes, key: bytes) -> bool:
    """Whether the signature is that key's over exactly this."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def missing_key(key: bytes) -> str:
    """Return the sentence for the case that the key that should sign is not among ours."""
    return (
        f"The key {key_fingerprint(key)} signs the next seal, and SEAL_KEY does not contain it. "
        "Put it back into SEAL_KEY, after the newest one. Where it is lost for good: ./run manage audit_restored "
        '--because "..." --new-key.'
    )


def key_fingerprint(raw_public_key: bytes) -> str:
    """Return how people see a key: three groups of four, like the fingerprint of a message."""
    return fingerprint_of(raw_public_key.hex())


@cache
def _keys(texts: tuple[str, ...]) -> dict[bytes, Ed25519PrivateKey]:
    """Private keys by their raw public keys, in the order of the setting."""
    private = [Ed25519PrivateKey.from_private_bytes(_seed(text)) for text in texts]
    return {key.public_key().public_bytes_raw(): key for key in private}


def _seed(text: str) -> bytes:
    try:
        seed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        seed = b""
    if len(seed) != _SIZE:
        # The key itself is not repeated: this sentence may end up in a log.
        raise ImproperlyConfigured(
            "SEAL_KEY must hold keys of 32 random bytes in URL-safe base64, separated by commas, the newest first."
        ) from None
    return seed


# --- Seals as they are signed and handed out ------------------------------------------------------------------------

VERSION = 2
_CONTEXT = b"countersign seal v2\n"
SEAL_FIELDS = """
    v number kind epoch count size entries previous end_xid end_id after_id
    cluster at key next_key note
""".split()


def signed_fields(seal: Seal) -> dict[str, Any]:
    """Return all that a seal says."""
    at = seal.at.astimezone(UTC).isoformat(timespec="microseconds")
    texts = {"v": VERSION, "kind": str(seal.kind), "end_xid": str(seal.end_xid), "at": at}
    return {name: texts[name] if name in texts else getattr(seal, name) for name in SEAL_FIELDS}


def signed_bytes(seal: Seal) -> bytes:
    """Return the bytes under the signature."""
    return _CONTEXT + canonical_json(signed_fields(seal))


def seal_json(seal: Seal) -> dict[str, Any]:
    """Return the checkpoint that outsiders keep: the seal and its signature."""
    return {**signed_fields(seal), "signature": seal.signature}


def seal_line(seal: Seal) -> bytes:
    """Return the checkpoint as one line of a file."""
    return canonical_json(seal_json(seal)) + b"\n"


def seal_hash(seal: Seal) -> str:
    """Return the seal's hash, which the next seal calls `previous`."""
    return hashlib.sha256(signed_bytes(seal) + bytes.fromhex(seal.signature)).hexdigest()
