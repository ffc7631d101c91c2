"""Authenticates API requests: finds the key that a request sends, and checks that it
may do what the route needs.

The key's text is never stored or logged; the key is looked up by a hash of it.
"""

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils import timezone
from ninja.security import HttpBearer

from common.ascii import trimmed
from gateway import limits
from gateway.errors import Forbidden, InvalidKey
from gateway.models import ApiKey, Scope, hash_key

log = logging.getLogger(__name__)

# The hashes of keys that were valid when they were used. What they use is counted by
# key, that of keys that anybody may have made up by address.
known_keys: set[str] = set()


class KeyedRequest(HttpRequest):
    """An authenticated request; `auth` is its API key."""

    auth: ApiKey


def key_text(environ: Mapping[str, Any]) -> str:
    """Return the text of the key in these headers (of a WSGI environ), or an empty
    text. A bearer token wins over X-API-Key; other schemes are ignored.
    """
    authorization = str(environ.get("HTTP_AUTHORIZATION", ""))
    scheme, _, token = trimmed(authorization).partition(" ")
    if scheme.lower() != "bearer":
        token = str(environ.get("HTTP_X_API_KEY", ""))
    return trimmed(token)


def check_scopes(key: ApiKey, *scopes: str) -> None:
    """Raise Forbidden if the key has none of `scopes`. Without `scopes`, every key
    passes.
    """
    if scopes and not key.may(*scopes):
        held = ", ".join(key.scopes)
        sentence = f"This key lacks the scope {' or '.join(scopes)}: it has {held}. Use another key of the account."
        raise Forbidden(sentence, code="missing_scope")


class BearerKey(HttpBearer):
    """Checks the key in `Authorization: Bearer` or `X-API-Key`. It must have one of
    `scopes`, if there are any.
    """

    def __init__(self, *scopes: str) -> None:
        self.scopes = scopes
        super().__init__()

    def __call__(self, request: HttpRequest) -> ApiKey | None:
        """Return the key, or None if the request sends none."""
        text = key_text(request.META)
        return self.authenticate(request, text) if text else None

    def authenticate(self, request: HttpRequest, token: str) -> ApiKey:
        """Return the key of `token`. Raises InvalidKey or Forbidden."""
        key = ApiKey.objects.by_hash(hash_key(token))
        if not key or not key.is_active:
            reason = "unknown"
            why = "Check that it is complete and has not been revoked."
            if key:
                reason = "revoked" if key.revoked_at else "expired"
            if reason == "expired":
                why = "It has expired: use a new one."
            log.info("key refused", extra={"reason": reason})
            raise InvalidKey(f"The API key is not valid. {why}")
        known_keys.add(key.sha256)
        # Set before the checks, so that refusals are logged with the key, too.
        request.auth = key  # type: ignore[attr-defined]
        if not key.account.is_active:
            raise Forbidden("The account is switched off.", code="account_inactive")
        limits.check_rate(key, now=timezone.now())
        check_scopes(key, *self.scopes)
        # What another scope of the key allows as well does not need `send`.
        others = set(self.scopes) - {Scope.SEND}
        needs_send = Scope.SEND in self.scopes and not key.may(*others)
        if key.paused_at and needs_send:
            raise Forbidden(
                "This key is paused: it sends nothing until an admin of the account resumes it. What it sent is kept.",
                code="key_paused",
            )
        # At most once a minute, so that most reads write nothing.
        a_minute_ago = timezone.now() - timedelta(minutes=1)
        if not key.last_used_at or key.last_used_at < a_minute_ago:
            ApiKey.objects.filter(pk=key.pk).update(last_used_at=Now())
        return key


ANY_KEY = BearerKey()
READ = BearerKey(Scope.READ)
SEND = BearerKey(Scope.SEND)
ADMIN = BearerKey(Scope.ADMIN)
OVERSIGHT = BearerKey(Scope.OVERSIGHT)
SEES_HELD = BearerKey(Scope.OVERSIGHT, Scope.OVERSIGHT_READ)
