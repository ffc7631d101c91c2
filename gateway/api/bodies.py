"""How request bodies are read: JSON of limited size and depth, types of fields that
allow only what can be stored, and the base classes of all bodies.

Unknown fields are ignored; only a decision with an unknown field is refused. Errors are
sentences for people, not those of pydantic.
"""

import json
import math
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Annotated, Any, Self

from annotated_types import MaxLen
from django.http import HttpRequest
from ninja.parser import Parser
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from common.ascii import lowered, trimmed
from common.mail_addresses import clean_address, clean_addresses, split_addresses
from common.unique_keys import DuplicateKey, Json, unique_keys
from gateway.accounts import confirmed
from gateway.api.answers import OrNone
from gateway.errors import BadRequest, Invalid
from gateway.lookups import bare_address
from gateway.models import ApiKey
from gateway.states import GateTiming, Mode
from gateway.text import check_header_text
from gateway.timestamps import parse_iso

# Addresses in one field; characters, if not said otherwise.
MAX_RECIPIENTS = 50
MAX_SUBJECT = 998
MAX_BODY = 262_144
MAX_METADATA_BYTES = 16 * 1024
MAX_KEY = 200
# The type of the validation error for a header injection, which `api/site.py` also
# records in the audit log.
INJECTION = "header_injection"
# Sentences for the types of pydantic's errors.
_PLAIN = {
    "missing": "is missing.",
    "extra_forbidden": "is no field of a decision. Nothing was decided.",
    "bool_type": "must be true or false.",
    "bool_parsing": "must be true or false.",
    "string_type": "must be text.",
    "dict_type": "must be an object.",
    "list_type": "must be a list.",
    "model_type": "must be an object.",
    "model_attributes_type": "must be an object.",
    "int_type": "must be a whole number.",
    "int_parsing": "must be a whole number.",
    "int_parsing_size": "must be a smaller number.",
    "int_from_float": "must be a whole number.",
    "string_pattern_mismatch": "does not match the pattern {pattern}",
    "enum": "must be one of {expected}.",
    "literal_error": "must be one of {expected}.",
    "greater_than_equal": "must be at least {ge}.",
    "less_than_equal": "must be at most {le}.",
    "string_too_long": "at most {max_length} {unit}.",
    "string_too_short": "at least {min_length} {unit}.",
    "too_long": "at most {max_length} {unit}.",
    "too_short": "at least {min_length} {unit}.",
}
# How deeply a body may be nested, and how many values it may hold.
MAX_DEPTH = 32
MAX_VALUES = 100_000
# The most commas of a body, with those in its texts. They are counted before it is
# parsed, because the values of a body may take thirty times as much memory.
MAX_COMMAS = 2_000_000
# The names and list positions that lead to a value in a body.
Path = tuple[str | int, ...]
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_NO_FORM = (
    "Forms are not accepted. Send a JSON object with Content-Type: application/json."
)


def _few(value: object) -> object:
    """Refuse too many addresses before they are parsed: the list may be as long as a
    body can be.
    """
    number = 0
    if isinstance(value, list):
        number = len(value)
    elif isinstance(value, str):
        number = sum(map(bool, split_addresses(value)))
    if number > MAX_RECIPIENTS:
        raise ValueError(f"at most {MAX_RECIPIENTS} addresses, and there are {number}.")
    return value


def _small(value: Json) -> Json:
    # Refuses metadata that is too large.
    if (size := len(json.dumps(value))) > MAX_METADATA_BYTES:
        raise ValueError(
            f"at most {MAX_METADATA_BYTES} bytes of JSON, and it has {size}."
        )
    return value


def without_nulls(changes: Json, *texts: str) -> Json:
    """Return the changes without those to null, which in one of the `texts` means to
    clear it.
    """
    for name in texts:
        if name in changes:
            changes[name] = changes[name] or ""
    return {name: value for name, value in changes.items() if value is not None}


# Makes the value lower case, so that a word is accepted in any case.
Lower = BeforeValidator(
    lambda value: lowered(trimmed(value)) if isinstance(value, str) else value
)


def _keeps_its_header(value: object) -> object:
    """Refuse text with a line break, after which another header such as `Bcc:` could
    follow. A text with several addresses may be broken at its commas.
    """
    parts = split_addresses(value) if isinstance(value, str) else value
    if isinstance(parts, list) and any(
        isinstance(part, str) and not {"\r", "\n"}.isdisjoint(part.strip())
        for part in parts
    ):
        raise PydanticCustomError(
            INJECTION, "must be a single line without control characters."
        )
    return value


# BeforeValidators run from the last to the first.
Addresses = Annotated[
    list[str],
    BeforeValidator(clean_addresses),
    BeforeValidator(_keeps_its_header),
    BeforeValidator(_few),
    BeforeValidator(lambda value: [] if value is None else value),
]
Address = Annotated[
    str, AfterValidator(_keeps_its_header), AfterValidator(clean_address), MaxLen(320)
]
OptionalAddress = Annotated[Address | None, OrNone]
Line = Annotated[
    str, AfterValidator(_keeps_its_header), AfterValidator(check_header_text)
]
Text = Annotated[str, MaxLen(MAX_BODY)]
ShortText = Annotated[str, MaxLen(200)]
ShortLine = Annotated[Line, MaxLen(200)]
Id = Annotated[str, MaxLen(64)]
MailboxName = Annotated[str, MaxLen(320)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Subject = Annotated[Line, MaxLen(MAX_SUBJECT)]
Metadata = Annotated[Json, AfterValidator(_small)]
Moment = Annotated[datetime, BeforeValidator(parse_iso)]
ModeWord = Annotated[Mode, Lower]
TimingWord = Annotated[GateTiming, Lower]


def example(value: JsonDict) -> ConfigDict:
    """Return the configuration of a body for which the OpenAPI document shows this
    example.
    """
    return ConfigDict(json_schema_extra={"example": value})


class Body(BaseModel):
    """Base of all request bodies."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)


class NamesEmail(Body):
    """A body that names a message under any of its three names."""

    email_id: Id = ""
    message_id: Id = ""
    id: Id = ""

    def names_email(self) -> str:
        """Return the id of the message that the body names, or an empty text."""
        return self.email_id or self.message_id or self.id


class MustNameEmail(NamesEmail):
    """A body that has to name a message."""

    @model_validator(mode="after")
    def _must_name_email(self) -> Self:
        if not self.names_email():
            raise ValueError("email_id: give the id of the message.")
        return self


class NamesMailbox(Body):
    """A body that names a mailbox under any of its three names."""

    sender: str = Field("", alias="from", max_length=320)
    mailbox: MailboxName = ""
    mailbox_id: MailboxName = ""

    def names_mailbox(self) -> str:
        """Return the id or address of the mailbox that the body names, or an empty
        text.
        """
        return bare_address(self.sender or self.mailbox or self.mailbox_id)


class Confirmable(Body):
    """A request that may have to be repeated with a code."""

    approval_code: Annotated[str | None, MaxLen(40)] = None

    def confirmed(
        self,
        key: ApiKey,
        action: str,
        summary: str,
        *,
        needed: bool | None = None,
        code: str = "",
        **about: str,
    ) -> AbstractContextManager[None]:
        """Return a context manager that does the act inside the `with` only if it needs
        no code or has the right one (`gateway.accounts.confirmed`).

        A code is valid only for the same body and the same `about`.
        """
        fields = self.model_dump(
            mode="json", exclude={"approval_code"}, exclude_unset=True
        )
        return confirmed(
            key,
            action,
            # Parameters of the path win over fields of the same name in the body.
            fields | about,
            summary,
            code=self.approval_code or code,
            needed=needed,
        )


class ConfirmIn(Confirmable):
    """A request with no fields but the code."""

    model_config = example({})


def sentence_of(error: Json) -> str:
    """Return the sentence for a validation error, without the field's name. Errors of
    our own validators have their own sentence.
    """
    plain = _PLAIN.get(error["type"])
    if plain is None:
        return str(error["msg"]).removeprefix("Value error, ")
    facts = dict(error.get("ctx", {}))
    unit = "character"
    if facts.get("field_type") in ("List", "Set", "Dictionary"):
        unit = "item"
    is_singular = 1 in (facts.get("min_length"), facts.get("max_length"))
    facts["unit"] = unit if is_singular else f"{unit}s"
    # "'a', 'b' or 'c'" reads better without its quotes.
    facts["expected"] = str(facts.get("expected", "")).replace("'", "")
    return plain.format(**facts)


class StrictParser(Parser):
    """Parses the JSON body of a request; an empty body is an empty object. Its errors
    are GatewayErrors, which `api/site.py` answers.
    """

    def parse_body(self, request: HttpRequest) -> Json:
        """Return the object in the body. Raises BadRequest if there is none, or Invalid
        if the object is too large or holds text that cannot be stored.
        """
        raw = request.body
        if raw.count(b",") > MAX_COMMAS:
            raise Invalid(f"The body holds more than {MAX_VALUES} values.")
        try:
            value = (
                json.loads(raw, object_pairs_hook=unique_keys) if raw.strip() else {}
            )
        except DuplicateKey as error:
            raise BadRequest(str(error), code="invalid_json") from error
        except RecursionError as error:
            raise BadRequest(
                "The body is nested too deeply.", code="invalid_json"
            ) from error
        except ValueError as error:
            hint = _NO_FORM if request.content_type in _FORMS else ""
            # Says what is wrong and where, but repeats no text of the body.
            detail = "it is not UTF-8, or holds a number that is too long"
            if isinstance(error, json.JSONDecodeError):
                what = f"{error.msg[:1].lower()}{error.msg[1:]}"
                detail = f"{what}, at line {error.lineno}, column {error.colno}"
            raise BadRequest(
                f"The body is not valid JSON: {detail}.", code="invalid_json", hint=hint
            ) from error
        if not isinstance(value, dict):
            raise BadRequest("The body must be a JSON object.", code="invalid_json")
        # Checks each value for what cannot be stored, and all together for depth and
        # number.
        count = 0
        unchecked: list[tuple[Path, Json | list[Any]]] = [((), value)]
        while unchecked:
            path, container = unchecked.pop()
            count += len(container)
            if len(path) > MAX_DEPTH:
                raise Invalid(
                    f"{path[0]}: is nested deeper than {MAX_DEPTH} levels.",
                    field=str(path[0]),
                )
            if count > MAX_VALUES:
                raise Invalid(f"The body holds more than {MAX_VALUES} values.")
            for name, item in (
                container.items()
                if isinstance(container, dict)
                else enumerate(container)
            ):
                if isinstance(name, str):
                    _refuse_text(name, path)
                if isinstance(item, str):
                    _refuse_text(item, (*path, name))
                elif isinstance(item, dict | list):
                    unchecked.append(((*path, name), item))
                elif isinstance(item, float) and not math.isfinite(item):
                    raise _invalid((*path, name), "is not a finite number.")
        return value


def _refuse_text(text: str, path: Path) -> None:
    if "\x00" in text:
        raise _invalid(path, "holds the character U+0000.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _invalid(path, "holds half a surrogate pair.") from None


def _invalid(path: Path, sentence: str) -> Invalid:
    field = ".".join(str(name)[:80] for name in path)
    return Invalid(f"{field or 'body'}: {sentence}", field=field)
