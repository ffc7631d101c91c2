"""Who calls: finds the key behind a request and checks that it may do what the route
needs.

The key's text is never stored nor logged; only its hash is looked up.
"""

import logging
from datetime import timedelta

from django.http import HttpRequest
from django.utils import timezone
from ninja.security import APIKeyHeader, HttpBearer

from gateway import limits
from gateway.errors import Forbidden, InvalidKey
from gateway.models import ApiKey, Scope, hash_key

log = logging.getLogger(__name__)


class KeyedRequest(HttpRequest):
    """A request whose key is known."""

    auth: ApiKey


def bearer_token(authorization: str) -> str | None:
    """Return the token of an Authorization header; None for no header and for another
    scheme.
    """
    scheme, _, token = authorization.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _admit(request: HttpRequest, text: str, scopes: tuple[str, ...]) -> ApiKey:
    key = ApiKey.objects.by_hash(hash_key(text))
    if key is None or not key.is_active:
        log.info(
            "key refused", extra={"reason": "unknown" if key is None else "revoked"}
        )
        raise InvalidKey(
            "The API key is not valid. Check that it is complete and has not been revoked."
        )
    # Set before the checks, so that refusals are logged with the key, too.
    request.auth = key  # type: ignore[attr-defined]
    if not key.account.is_active:
        raise Forbidden("The account is switched off.", code="account_inactive")
    limits.check_rate(key, now=timezone.now())
    check_scopes(key, *scopes)
    if key.paused_at is not None and Scope.SEND in scopes:
        raise Forbidden(
            "This key is paused: it sends nothing until an admin of the account resumes it. What it sent is kept.",
            code="key_paused",
        )
    before = timezone.now() - timedelta(minutes=1)
    if key.last_used_at is None or key.last_used_at < before:
        ApiKey.objects.used(key)
    return key


def check_scopes(key: ApiKey, *scopes: str) -> None:
    """Raise Forbidden unless the key has one of `scopes`, or none is asked for."""
    if scopes and not key.may(*scopes):
        held = ", ".join(key.scopes)
        sentence = f"This key lacks the scope {' or '.join(scopes)}: it has {held}. Use another key of the account."
        raise Forbidden(sentence, code="missing_scope")


class _Scoped:
    """A check of a key that needs one of its scopes."""

    def __init__(self, *scopes: str) -> None:
        self.scopes = scopes
        super().__init__()


class BearerKey(_Scoped, HttpBearer):
    """`Authorization: Bearer <key>`. It wins over X-API-Key; another scheme is ignored."""

    def __call__(self, request: HttpRequest) -> ApiKey | None:
        """Return the key, or None when the header is not there."""
        token = bearer_token(request.headers.get("Authorization", ""))
        return None if token is None else self.authenticate(request, token)

    def authenticate(self, request: HttpRequest, token: str) -> ApiKey:
        """Return the key of `token`. Raises InvalidKey or Forbidden."""
        return _admit(request, token, self.scopes)


class HeaderKey(_Scoped, APIKeyHeader):
    """`X-API-Key: <key>`."""

    param_name = "X-API-Key"

    def authenticate(self, request: HttpRequest, key: str | None) -> ApiKey | None:
        """Return the key, or None when the header is not there. Raises InvalidKey or
        Forbidden.
        """
        return _admit(request, key.strip(), self.scopes) if key else None


def needs(*scopes: str) -> list[HttpBearer | APIKeyHeader]:
    """Return the checks of a route that asks for one of `scopes`; without any, every
    valid key will do.
    """
    return [BearerKey(*scopes), HeaderKey(*scopes)]


ANY_KEY = needs()
READ = needs(Scope.READ)
SEND = needs(Scope.SEND)
ADMIN = needs(Scope.ADMIN)
OVERSIGHT = needs(Scope.OVERSIGHT)
SEES_HELD = needs(Scope.OVERSIGHT, Scope.OVERSIGHT_READ)
