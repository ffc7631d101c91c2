"""What the gateway says about requests by their headers: whose they are, and how large
a body it takes.

Without a key it takes only small bodies: of clients that would sign up, which get a
sentence, and of mail programs that unsubscribe their reader.
"""

from typing import Any

from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.db import close_old_connections

from gateway.auth import key_text
from gateway.models import ApiKey, hash_key

SIGNED_PATHS: tuple[str, ...] = ()
HEALTH_PATHS = ("/health",)
# One key may be that of a whole product, such as this desk, and most of a call is
# waiting for the database.
SESSION_THREADS = 3
IS_ONE_BY_ONE = False
# Where a body needs no key.
UNSUBSCRIBE = "/v1/unsubscribe/"
OPEN = (
    "/v1/account",
    "/v1/account/challenge",
    "/v1/account/resend-confirmation",
    "/v1/confirm",
)


def most_body(environ: dict[str, Any]) -> int:
    """Return how many bytes of body to wait for; 0 where a key is needed and none is
    given.
    """
    path: str = environ["PATH_INFO"]
    if (
        not session_of(environ)
        and path not in OPEN
        and not path.startswith(UNSUBSCRIBE)
    ):
        return 0
    return settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0


def most_of_sender(environ: dict[str, Any]) -> int:
    """Return the same for a body that is not small: 0 for whoever has no valid key.
    Asks the database.
    """
    close_old_connections()
    try:
        key = ApiKey.objects.by_hash(hash_key(session_of(environ)))
    except AnyDatabaseError:
        # The key cannot be checked; the API answers 503 if the database stays away.
        return most_body(environ)
    return most_body(environ) if key is not None and key.is_active else 0


def session_of(environ: dict[str, Any]) -> str:
    """Return the API key's text as `gateway.auth` reads it: a bearer token wins over
    X-API-Key.
    """
    return key_text(environ)
