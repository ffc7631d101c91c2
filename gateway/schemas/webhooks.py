"""The bodies of requests about subscriptions."""

from typing import Annotated

from pydantic import ConfigDict, Field

from gateway.schemas.confirming import Confirmable
from gateway.schemas.fields import Body, Line


class WebhookIn(Confirmable):
    """A subscription to make."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"url": "https://example.com/hook", "events": ["oversight.pending"]}}
    )

    url: Annotated[Line, Field(min_length=1, max_length=2000)]
    events: Annotated[list[str], Field(min_length=1, max_length=40)]
    mailbox_id: str | None = Field(None, max_length=320)
    secret: Annotated[str, Field(min_length=8, max_length=200)] | None = None
    # Of a live key: whether events of sandbox mail are wanted too. A sandbox key hears of nothing else.
    include_sandbox: bool = False


class WebhookChange(Confirmable):
    """What to change of a subscription; what is not named stays."""

    model_config = ConfigDict(json_schema_extra={"example": {"events": ["oversight.pending", "email.decided"]}})

    url: Annotated[Line, Field(min_length=1, max_length=2000)] = ""
    events: Annotated[list[str], Field(min_length=1, max_length=40)] = Field(default_factory=list)
    mailbox_id: str | None = Field(None, max_length=320)
    include_sandbox: bool = False


class RotateIn(Body):
    """How long the old secret goes on signing beside the new one; 0 ends it at once."""

    model_config = ConfigDict(json_schema_extra={"example": {"overlap_s": 3600}})

    overlap_s: Annotated[int, Field(ge=0, le=7 * 24 * 3600)] = 24 * 3600
    secret: Annotated[str, Field(min_length=8, max_length=200)] | None = None
