"""The keys that seals are signed with: the Ed25519 keys of SEAL_KEY, the newest first.

They are never in the database. A public key is written as in a seal: 32 bytes in hex.
"""

import base64
from functools import cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from audit.models import Seal
from audit.verifier.countersign_verify import fingerprint_of


class NoKey(Exception):
    """There is nothing to sign with."""

    def __init__(self) -> None:
        super().__init__("SEAL_KEY is not set, so the ledger is not sealed.")


def check_keys() -> None:
    """Raise ImproperlyConfigured, in a sentence that names no key, where one of them is
    none.
    """
    _keys(tuple(settings.SEAL_KEYS))


def public_keys() -> list[str]:
    """Return the public keys, the newest first; none where the ledger is not sealed."""
    return list(_keys(tuple(settings.SEAL_KEYS)))


def public_key() -> str:
    """Return the public key that seals are signed with now. Raises NoKey."""
    if found := public_keys():
        return found[0]
    raise NoKey


def sign(seal: Seal) -> str:
    """Return the signature of a seal by the one of our keys that it names."""
    return _keys(tuple(settings.SEAL_KEYS))[seal.key].sign(seal.signed_bytes).hex()


def is_signed(seal: Seal) -> bool:
    """Whether the signature is that of the seal's key, over exactly what it says."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(seal.key))
        key.verify(bytes.fromhex(seal.signature), seal.signed_bytes)
    except (InvalidSignature, ValueError):
        return False
    return True


def missing_key(key: str) -> str:
    """Return the sentence for the case that the key that should sign is not among ours."""
    return (
        f"The key {fingerprint_of(key)} signs the next seal, and SEAL_KEY does not contain it. "
        "Put it back into SEAL_KEY, after the newest one. Where it is lost for good: ./run manage audit_restored "
        '--because "..." --new-key.'
    )


@cache
def _keys(texts: tuple[str, ...]) -> dict[str, Ed25519PrivateKey]:
    """Private keys by their public keys, in the order of the setting."""
    keys = {}
    for text in texts:
        padded = text + "=" * (-len(text) % 4)
        try:
            seed = base64.b64decode(padded, altchars=b"-_", validate=True)
            key = Ed25519PrivateKey.from_private_bytes(seed)
        except ValueError:
            # The key itself is not repeated: this sentence may end up in a log.
            raise ImproperlyConfigured(
                "SEAL_KEY must hold keys of 32 random bytes in URL-safe base64, separated by commas, the newest first."
            ) from None
        keys[key.public_key().public_bytes_raw().hex()] = key
    return keys
