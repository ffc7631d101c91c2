"""Encrypts secrets in the database: a text field whose values are encrypted with the
first of ENCRYPTION_KEYS, the newest. They can be read with any of these keys.
"""

from functools import cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models


# Returns the cipher for these keys.
@cache
def _box(keys: tuple[str, ...]) -> MultiFernet:
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError:
        # The keys themselves are not repeated: this sentence may end up in a log.
        raise ImproperlyConfigured(
            "ENCRYPTION_KEYS must hold keys of 32 random bytes in URL-safe base64, separated by commas."
        ) from None


def encrypt(text: str) -> str:
    """Return `text` encrypted with the newest key."""
    return _box(tuple(settings.ENCRYPTION_KEYS)).encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    """Return the text that was encrypted. Raises ImproperlyConfigured if none of the
    keys fits.
    """
    try:
        return _box(tuple(settings.ENCRYPTION_KEYS)).decrypt(token.encode()).decode()
    except InvalidToken:
        raise ImproperlyConfigured(
            "A stored secret cannot be read with any key in ENCRYPTION_KEYS. Add the key that it was written with to "
            "ENCRYPTION_KEYS again (after the newest, separated by commas)."
        ) from None


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]
    """Text that is encrypted in the database, so it cannot be searched. An empty text
    is stored as it is.
    """

    def get_prep_value(self, value: Any) -> Any:
        return encrypt(value) if value else value

    def from_db_value(self, value: Any, expression: object, connection: object) -> Any:
        return decrypt(value) if value else value


def uses_newest_key(token: str) -> bool:
    """Whether `token` was encrypted with the first of ENCRYPTION_KEYS."""
    try:
        _box(tuple(settings.ENCRYPTION_KEYS[:1])).decrypt(token.encode())
    except InvalidToken:
        return False
    return True
