"""What every documented answer has in common.

Answers are documented by classes, for the OpenAPI document. Where one is a row as it is
stored, its class makes it; elsewhere handlers build plain objects, which may have more
keys. Handlers return a JsonResponse: what is ours needs no second validation.
"""

from typing import Annotated, Any

from django.db.models import Model
from django.http import HttpRequest, JsonResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict

from gateway.timestamps import iso

Iso = Annotated[str, BeforeValidator(iso)]
# What is empty is shown as null.
OrNone = BeforeValidator(lambda value: value or None)


class Answer(BaseModel):
    """Base of all documented answers."""

    model_config = ConfigDict(extra="allow", from_attributes=True)

    @classmethod
    def of(cls, row: Model) -> dict[str, Any]:
        """Return a row as this answer shows it."""
        return cls.model_validate(row).model_dump()


class Problem(Answer):
    """Every error of every route."""

    error: str
    code: str


# Why clients cannot sign up here.
BY_OPERATOR = "Its operator creates accounts: ./run manage gateway_account --name ... creates one with its keys."


def not_offered(instead: str) -> JsonResponse:
    """Return the answer of a route that is left out, which says what to use instead."""
    return JsonResponse(
        {
            "error": f"This gateway does not offer this. {instead}",
            "code": "not_implemented",
        },
        status=501,
    )


class Changed(Answer):
    """Something changed its status."""

    id: str
    status: str


class Health(Answer):
    """Whether the gateway works."""

    status: str
    software: str


def is_by_mcp_server(request: HttpRequest) -> bool:
    """Whether MultiMail's MCP server asks: it names a JSON type even without a body.

    Its model trusts the whole answer except for the keys that the server takes out as
    body text.
    """
    return (
        request.headers.get("Content-Type", "").lower().startswith("application/json")
    )


class PendingApproval(Answer):
    """Not done yet: an operator has to confirm it, and the same request is repeated
    with the code.
    """

    status: str
    code: str
    message: str
    id: str
