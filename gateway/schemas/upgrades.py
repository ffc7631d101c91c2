"""The bodies of requests for a looser oversight mode."""

from typing import Annotated

from pydantic import ConfigDict, Field

from gateway.schemas.fields import Body, ModeWord


class UpgradeWish(Body):
    """Which mode is wanted."""

    model_config = ConfigDict(json_schema_extra={"example": {"target_mode": "monitored"}})

    target_mode: ModeWord


class UpgradeCode(Body):
    """The code that an operator gave out."""

    model_config = ConfigDict(json_schema_extra={"example": {"code": "A7X-29K"}})

    code: Annotated[str, Field(min_length=1, max_length=40)]
