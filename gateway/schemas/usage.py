"""The parameters of the usage report."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from gateway.limits import start_of_month

MAX_DAYS = 366
# The last millisecond of the year 9998: every later step of arithmetic stays within what a date can hold.
_LATEST = 253_370_764_799_999


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


def _lower(value: object) -> object:
    return (value.strip().lower() or None) if isinstance(value, str) else value


_Milliseconds = Annotated[Annotated[int, Field(ge=0, le=_LATEST)] | None, BeforeValidator(_none_if_empty)]


class UsageFilters(BaseModel):
    """Which period, and whether by day. MCP clients say `period`, others `breakdown`."""

    period: Annotated[Literal["summary", "daily"] | None, BeforeValidator(_lower)] = None
    breakdown: Annotated[Literal["summary", "daily"] | None, BeforeValidator(_lower)] = None
    begin: _Milliseconds = Field(None, alias="from", description="Milliseconds since 1970; default: this month.")
    end: _Milliseconds = Field(None, alias="to", description="Milliseconds since 1970; default: now.")

    @model_validator(mode="after")
    def _is_a_period(self) -> Self:
        if self.begin is not None and self.end is not None:
            if self.end < self.begin:
                raise ValueError("to: lies before from.")
            if self.end - self.begin > MAX_DAYS * 86_400_000:
                raise ValueError(f"from: lies more than {MAX_DAYS} days before to.")
        return self

    def daily(self) -> bool:
        """Whether the days are wanted one by one."""
        return "daily" in (self.period, self.breakdown)

    def bounds(self, now: datetime) -> tuple[datetime, datetime]:
        """Return the period: this month so far where nothing is said, never longer than MAX_DAYS."""
        end = now if self.end is None else datetime.fromtimestamp(self.end / 1000, UTC)
        if self.begin is None:
            return start_of_month(end), end
        begin = datetime.fromtimestamp(self.begin / 1000, UTC)
        return max(min(begin, end), end - timedelta(days=MAX_DAYS)), end
