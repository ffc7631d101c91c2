"""The errors that the gateway's API answers with: an exception class for each HTTP
status, with a sentence for people and a stable code for programs.
"""

import re
from typing import Any

from common.unique_keys import Json

# A sentence that begins with the name of a field.
_NAMES_FIELD = re.compile(r"([a-z][a-z0-9_.]*): ")


class GatewayError(Exception):
    """Base of all errors that the API returns. `error` is a sentence for people, `code` a
    word for programs, `hint` says what to do, `retry_after` is in seconds, and `extra`
    holds further keys of the answer.

    A sentence about one field of the request begins with the field's name (`subject: is
    missing.`), unless `field` names it.
    """

    status = 400
    code = "bad_request"
    retry_after: int | None = None

    def __init__(
        self,
        error: str,
        *,
        code: str = "",
        field: str | None = None,
        hint: str = "",
        retry_after: int | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(error)
        self.error = error
        self.code = code or self.code
        if field is None and (named := _NAMES_FIELD.match(error[:200])):
            field = named[1]
        self.field = field
        self.hint = hint
        self.retry_after = retry_after or self.retry_after
        self.extra = extra

    def body(self) -> Json:
        """Return the JSON object that clients get."""
        body = {"error": self.error, "code": self.code}
        if self.field:
            body["field"] = self.field
        if self.hint:
            body["hint"] = self.hint
        return body | self.extra


class BadRequest(GatewayError):
    """The request cannot be read, or is wrong in a way that no single field explains."""


class InvalidKey(GatewayError):
    """The request has no key, an unknown key or a revoked key."""

    status = 401
    code = "invalid_key"


class Forbidden(GatewayError):
    """The key is valid, but may not do this."""

    status = 403
    code = "forbidden"


class NotFound(GatewayError):
    """The account has no such object, or the key may not see it."""

    status = 404
    code = "not_found"


class Conflict(GatewayError):
    """The object's current state does not allow the request."""

    status = 409
    code = "conflict"


class TooLarge(GatewayError):
    """The request has more bytes than allowed."""

    status = 413
    code = "too_large"


class Invalid(GatewayError):
    """A field is missing or wrong."""

    status = 422
    code = "invalid_field"


class TooManyRequests(GatewayError):
    """A limit is reached."""

    status = 429
    code = "rate_limited"


class Unavailable(GatewayError):
    """The database or the parser cannot be reached; the client can try again."""

    status = 503
    code = "unavailable"
    retry_after = 1
