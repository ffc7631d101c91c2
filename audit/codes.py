"""Codes by which the sealer knows entries that the desk wrote from entries that were put into the database.

A code covers what an entry says, not its place: number, transaction and time are the database's to give. The key comes
from SECRET_KEY, which the database never has. After SECRET_KEY was changed the old one has to stand in
SECRET_KEY_FALLBACKS until what it signed is sealed.
"""

import hashlib
import hmac
from typing import Any

from django.conf import settings

from common.fingerprint import canonical_json


def said(entry: Any) -> dict[str, Any]:
    """Return the columns that whoever writes an entry gives it."""
    columns = {
        "actor_kind": entry.actor_kind,
        "actor_id": entry.actor_id,
        "surface": entry.surface,
        "action": entry.action,
        "connection": entry.connection,
        "message": str(entry.message) if entry.message else None,
        "fingerprint": entry.fingerprint,
        "trace": entry.trace,
        "detail_hashes": entry.detail_hashes,
    }
    # Entries of before have no such column, and their hashes stay as they are.
    return columns | ({"outcome": entry.outcome} if entry.outcome else {})


def code_of(entry: Any) -> str:
    """Return the code of an entry that is about to be written: HMAC-SHA256, in hex."""
    return _code(entry, settings.SECRET_KEY)


def is_ours(entry: Any) -> bool:
    """Whether the code of an entry is one that the desk made for it."""
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return any(hmac.compare_digest(_code(entry, key), entry.code) for key in keys)


def _code(entry: Any, key: str) -> str:
    derived = hashlib.sha256(b"countersign entry v1\n" + key.encode()).digest()
    return hmac.digest(derived, canonical_json(said(entry)), "sha256").hex()
