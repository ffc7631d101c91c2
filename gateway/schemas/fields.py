"""The kinds of fields that request bodies have, checked so that what is stored is sound. Unknown fields are ignored."""

import json
import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from common.mail_addresses import clean_address, clean_addresses
from gateway import ignored_fields
from gateway.header_text import check_header_text
from gateway.modes import GateTiming, Mode
from gateway.timestamps import parse_iso

MAX_RECIPIENTS = 50
MAX_SUBJECT = 998
MAX_BODY = 262_144
MAX_METADATA_BYTES = 16 * 1024
MAX_KEY = 200
# The kind of error of text that would begin another header; whoever answers for it also notes who tried.
INJECTION = "header_injection"
_GOES_ON = re.compile(r"[\r\n]")


def _few(value: object) -> object:
    """Count before anything else is done: the list may be as long as a body can be."""
    number = (
        len(value) if isinstance(value, list) else sum(map(bool, value.split(","))) if isinstance(value, str) else 0
    )
    if number > MAX_RECIPIENTS:
        raise ValueError(f"at most {MAX_RECIPIENTS} addresses, and there are {number}.")
    return value


def _short_subject(subject: str) -> str:
    if len(subject) > MAX_SUBJECT:
        raise ValueError(f"at most {MAX_SUBJECT} characters, and it has {len(subject)}.")
    return subject


def _small(value: dict[str, Any]) -> dict[str, Any]:
    if (size := len(json.dumps(value))) > MAX_METADATA_BYTES:
        raise ValueError(f"at most {MAX_METADATA_BYTES} bytes of JSON, and it has {size}.")
    return value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _time(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("must be a time in UTC such as 2026-11-20T08:15:00Z.")
    return parse_iso(value)


def _none_as_empty(value: object) -> object:
    return [] if value is None else value


def _keeps_its_header(value: object) -> object:
    """Refuse text that goes on in another line, where `Bcc:` may stand. Lists in one text may be broken at a comma."""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else ()
    if any(isinstance(part, str) and _GOES_ON.search(part.strip()) for part in parts):
        raise PydanticCustomError(INJECTION, "must be a single line without control characters.")
    return value


# Those before run from the last to the first.
Addresses = Annotated[
    list[str],
    BeforeValidator(clean_addresses),
    BeforeValidator(_keeps_its_header),
    BeforeValidator(_few),
    BeforeValidator(_none_as_empty),
]
Address = Annotated[str, AfterValidator(_keeps_its_header), AfterValidator(clean_address), Field(max_length=320)]
OptionalAddress = Annotated[Address | None, BeforeValidator(lambda value: value or None)]
Line = Annotated[str, AfterValidator(_keeps_its_header), AfterValidator(check_header_text)]
Text = Annotated[str, Field(max_length=MAX_BODY)]
Subject = Annotated[Line, AfterValidator(_short_subject)]
Metadata = Annotated[dict[str, Any], AfterValidator(_small)]
Moment = Annotated[datetime, BeforeValidator(_time)]
ModeWord = Annotated[Mode, BeforeValidator(_lower)]
TimingWord = Annotated[GateTiming, BeforeValidator(_lower)]


class Body(BaseModel):
    """Base of all request bodies."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _note_unknown(cls, given: Any, info: ValidationInfo) -> Any:
        request = (info.context or {}).get("request")
        if request is not None and isinstance(given, dict):
            known = {word for name, field in cls.model_fields.items() for word in (name, field.alias)}
            ignored_fields.remember(request, given.keys() - known)
        return given


class NamesEmail(Body):
    """A body that names a message under any of its three names."""

    email_id: str = Field("", max_length=64)
    message_id: str = Field("", max_length=64)
    id: str = Field("", max_length=64)

    def names_email(self) -> str:
        """Return the id of the message, or an empty text."""
        return self.email_id or self.message_id or self.id
