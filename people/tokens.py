"""Tokens of one-time links: shown once, and stored only as a hash."""

import hashlib
import secrets


def new_token() -> str:
    """Return a token of 32 random bytes, safe in a URL."""
    return secrets.token_urlsafe(32)


def hash_of(token: str) -> str:
    """Return the hash that is stored and looked up. It needs no salt, because 32 random
    bytes cannot be guessed.
    """
    return hashlib.sha256(token.encode()).hexdigest()
