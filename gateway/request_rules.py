"""What the web server (`dashboard/serving`) asks the gateway about a request, by its
headers alone: which API key sent it, and how large a body to read.

Without a key it reads only small bodies, and only at a few paths: those by which
clients try to sign up (they get a sentence), and those by which mail programs
unsubscribe their user.
"""

from typing import Any

from django.db import Error as AnyDatabaseError
from django.db import close_old_connections

from gateway.auth import key_text, known_keys
from gateway.middleware import bound_of
from gateway.models import ApiKey, hash_key

SIGNED_PATHS: tuple[str, ...] = ()
HEALTH_PATHS = ("/health",)
# How many threads the requests of one key use at a time. One key may serve a whole
# product, such as the desk, and most of a call is waiting for the database.
SESSION_THREADS = 3
IS_ONE_BY_ONE = False
# Paths at which a body is read without a key.
UNSUBSCRIBE = "/v1/unsubscribe/"
OPEN = (
    "/v1/account",
    "/v1/account/challenge",
    "/v1/account/resend-confirmation",
    "/v1/confirm",
)


def most_body(environ: dict[str, Any]) -> int:
    """Return how many bytes of body to read; 0 if a key is needed and none is given."""
    path = environ["PATH_INFO"]
    if not key_text(environ) and path not in OPEN and not path.startswith(UNSUBSCRIBE):
        return 0
    return bound_of(path)


def most_of_sender(environ: dict[str, Any]) -> int:
    """Return the same for a large body: 0 if the key is not valid. Queries the
    database.
    """
    close_old_connections()
    try:
        key = ApiKey.objects.by_hash(hash_key(key_text(environ)))
    except AnyDatabaseError:
        # The key cannot be checked; the API answers 503 if the database stays away.
        return most_body(environ)
    return most_body(environ) if key and key.is_active else 0


def session_of(environ: dict[str, Any]) -> str:
    """Return the text of the API key; empty if it is not known to be valid."""
    text = key_text(environ)
    return text if hash_key(text) in known_keys else ""
