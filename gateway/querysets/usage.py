"""Queries of how much the API was used."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

from django.db import connection, models

if TYPE_CHECKING:
    from gateway.models import UsageDay  # noqa: F401


class UsageDayQuerySet(models.QuerySet["UsageDay"]):
    """Calls by account and day."""

    def add(self, calls: Mapping[tuple[str, date], int]) -> None:
        """Add calls in one statement, in an order that two writers share. Accounts that are gone are left out."""
        if not calls:
            return
        rows = sorted((account_id, day, number) for (account_id, day), number in calls.items())
        accounts, days, numbers = zip(*rows, strict=True)
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO gateway_usageday AS old (account_id, day, api_calls)"
                " SELECT account_id, day, calls FROM unnest(%s::varchar[], %s::date[], %s::bigint[])"
                " AS new (account_id, day, calls)"
                " WHERE EXISTS (SELECT FROM gateway_account WHERE id = new.account_id) ORDER BY 1, 2"
                " ON CONFLICT (account_id, day) DO UPDATE SET api_calls = old.api_calls + excluded.api_calls",
                [list(accounts), list(days), list(numbers)],
            )
