"""The body that replaces an allowlist."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from common.patterns import read_pattern
from gateway.allowlists import Entry
from gateway.schemas.confirming import Confirmable
from gateway.schemas.fields import Body, Line, Moment

MAX_ENTRIES = 5000


def _word(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _pattern(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text such as jane@example.org, example.org or *.example.org.")
    return read_pattern(value)


def _entry(value: object) -> object:
    return {"pattern": value} if isinstance(value, str) else value


def _few(value: object) -> object:
    # Before each entry is read: five thousand good ones are enough, whatever comes after them.
    if isinstance(value, list) and len(value) > MAX_ENTRIES:
        raise ValueError(f"at most {MAX_ENTRIES} entries.")
    return value


# Words and not the model's classes: the API's document knows a class by its bare name, and has another `Mode`.
KindWord = Annotated[Literal["restriction", "bypass"], BeforeValidator(_word)]
ListModeWord = Annotated[Literal["off", "monitor", "enforce", "contacts"], BeforeValidator(_word)]


class EntryIn(Body):
    """Whom to name, and for how long."""

    pattern: Annotated[str, BeforeValidator(_pattern)]
    expires_at: Moment | None = None
    note: Annotated[Line, Field(max_length=300)] | None = None

    def entry(self) -> Entry:
        """Return the entry as it should stand."""
        return Entry(self.pattern, self.expires_at, self.note or "")


class AllowlistIn(Confirmable):
    """A whole list. `version` is the one that the change is made to; a list that was never written is at 0."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "kind": "restriction",
                "mode": "monitor",
                "version": 0,
                "entries": [
                    "example.org",
                    {"pattern": "jane@example.com", "expires_at": "2099-01-01T00:00:00Z", "note": "until the fair"},
                ],
            }
        }
    )

    kind: KindWord
    mode: ListModeWord
    version: int = Field(0, ge=0, le=2_000_000_000)
    entries: Annotated[
        list[Annotated[EntryIn, BeforeValidator(_entry, json_schema_input_type=EntryIn | str)]],
        BeforeValidator(_few),
        Field(max_length=MAX_ENTRIES),
    ]

    @model_validator(mode="before")
    @classmethod
    def _may_leave_version_out(cls, value: Any) -> Any:
        return {k: v for k, v in value.items() if k != "version" or v is not None} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind == "bypass" and self.mode == "contacts":
            raise ValueError("mode: contacts is for restrictions only; a bypass is off, monitor or enforce.")
        return self
