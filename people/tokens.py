"""Secrets of one-time links: made here, given out once, and kept only as a hash."""

import hashlib
import secrets


def new_token() -> str:
    """Return a secret of 32 random bytes that can stand in an address."""
    return secrets.token_urlsafe(32)


def hash_of(token: str) -> str:
    """Return what is kept of a secret, and looked up by. It needs no salt: nobody guesses 32 random bytes."""
    return hashlib.sha256(token.encode()).hexdigest()
