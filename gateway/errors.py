"""What the gateway answers when it cannot do what was asked: one class a status, a
sentence, and a stable code.
"""

import re
from typing import Any

_NAMES_FIELD = re.compile(r"([a-z][a-z0-9_.]*): ")


class GatewayError(Exception):
    """Base of all refusals. `error` is for people, `code` for programs, `extra` are
    further keys of the answer.

    A sentence about one field begins with its name (`subject: is missing.`); `field` is
    for other sentences.
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
        if field is None and (named := _NAMES_FIELD.match(error)):
            field = named[1]
        self.field = field
        self.hint = hint
        self.retry_after = retry_after or self.retry_after
        self.extra = extra

    def body(self) -> dict[str, Any]:
        """Return the JSON object that clients get."""
        body = {"error": self.error, "code": self.code}
        if self.field:
            body["field"] = self.field
        if self.hint:
            body["hint"] = self.hint
        return body | self.extra


class BadRequest(GatewayError):
    """The body is no JSON object."""


class InvalidKey(GatewayError):
    """No key, an unknown one, or a revoked one."""

    status = 401
    code = "invalid_key"


class Forbidden(GatewayError):
    """The key is right, but may not do this."""

    status = 403
    code = "forbidden"


class NotFound(GatewayError):
    """No such thing in this account."""

    status = 404
    code = "not_found"


class Conflict(GatewayError):
    """The state does not allow it."""

    status = 409
    code = "conflict"


class TooLarge(GatewayError):
    """More bytes than allowed."""

    status = 413
    code = "too_large"


class Invalid(GatewayError):
    """A field is missing or wrong."""

    status = 422
    code = "invalid_field"


class TooManyRequests(GatewayError):
    """Too often. `retry_after` is in seconds."""

    status = 429
    code = "rate_limited"


class Unavailable(GatewayError):
    """The database, or what reads messages, is away."""

    status = 503
    code = "unavailable"
    retry_after = 1
