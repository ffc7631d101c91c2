"""Message authentication codes, by which the sealer knows entries that the desk wrote from those put into the database.

A code covers what an entry says, not its place: number, transaction and time are given by the database. The key is
derived from SECRET_KEY, which the database never has. After SECRET_KEY was changed, the old one has to stand in
SECRET_KEY_FALLBACKS until the entries written with it are sealed.
"""

import hashlib
import hmac
from typing import Any

from django.conf import settings

from common.fingerprint import canonical_json


def authenticated_columns(entry: Any) -> dict[str, Any]:
    """Return the columns that the desk, not the database, gives an entry."""
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
    # Older entries have no outcome, and their hashes stay as they are.
    return columns | ({"outcome": entry.outcome} if entry.outcome else {})


def mac_of(entry: Any) -> str:
    """Return the code of an entry that is about to be written: HMAC-SHA256, in hex."""
    return _mac(entry, settings.SECRET_KEY)


def is_authentic(entry: Any) -> bool:
    """Whether the code of an entry is one that the desk made for it."""
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return any(hmac.compare_digest(_mac(entry, key), entry.mac) for key in keys)


def _mac(entry: Any, key: str) -> str:
    derived = hashlib.sha256(b"countersign entry v1\n" + key.encode()).digest()
    return hmac.digest(derived, canonical_json(authenticated_columns(entry)), "sha256").hex()
