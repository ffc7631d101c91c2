"""The bodies of requests for an account of one's own."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from gateway.schemas.fields import Address, Body, Line, ModeWord


class ChallengeIn(Body):
    """Whom the account will be for; it changes nothing here."""

    model_config = ConfigDict(json_schema_extra={"example": {"oversight_email": "a@acme.example"}})

    oversight_email: Annotated[str, Field(max_length=320)] = ""


class Solution(Body):
    """A solved challenge, sent back as it came with the number that solves it."""

    algorithm: Literal["SHA-256"] = "SHA-256"
    challenge: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    number: Annotated[int, Field(ge=0, le=10**9)]
    salt: Annotated[str, Field(max_length=200)]
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


_WISH: JsonDict = {
    "operator_name": "Acme",
    "oversight_email": "a@acme.example",
    "accepted_tos": True,
    "accepted_operator_agreement": True,
    "accepted_anti_spam_policy": True,
    "pow_solution": {"challenge": "0" * 64, "number": 4711, "salt": "9f?expires=1", "signature": "0" * 64},
}


class SignupIn(Body):
    """A wish for an account."""

    model_config = ConfigDict(json_schema_extra={"example": _WISH})

    # It stands in the mail with the code, which may go to a stranger: no place for an advertisement.
    operator_name: Annotated[Line, Field(min_length=1, max_length=80, pattern=r"^[^:/@]*$")]
    oversight_email: Address
    accepted_tos: Literal[True]
    accepted_operator_agreement: Literal[True]
    accepted_anti_spam_policy: Literal[True]
    pow_solution: Solution
    slug: Annotated[str, Field(max_length=60)] = ""
    physical_address: Annotated[str, Field(max_length=300)] = ""
    use_case: Annotated[str, Field(max_length=200)] = ""
    oversight_mode: ModeWord | None = None


class ConfirmSignupIn(Body):
    """The code that was mailed."""

    model_config = ConfigDict(json_schema_extra={"example": {"code": "SKP-7D2-4V8"}})

    code: Annotated[str, Field(min_length=1, max_length=40)]


class ResendIn(Body):
    """To whom the code was mailed."""

    model_config = ConfigDict(json_schema_extra={"example": {"oversight_email": "a@acme.example"}})

    oversight_email: Annotated[str, Field(min_length=3, max_length=320)]
