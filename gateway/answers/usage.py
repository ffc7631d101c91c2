"""Answers about usage."""

from pydantic import ConfigDict, Field

from gateway.answers.base import Answer


class UsageOfDay(Answer):
    """What happened on one day (UTC)."""

    date: str
    emails_sent: int
    emails_received: int
    api_calls: int
    oversight_actions: int


class Usage(Answer):
    """What happened in a period; with `breakdown`, also day by day under `data`."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    begin: int = Field(alias="from")
    end: int = Field(alias="to")
    emails_sent: int
    emails_received: int
    api_calls: int
    oversight_actions: int
    plan: str
    monthly_email_quota: int | None
    max_mailboxes: int | None
    storage_used_bytes: int
    max_storage_bytes: int | None
    breakdown: str | None = None
    data: list[UsageOfDay] | None = None
