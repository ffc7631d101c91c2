"""How much the API was used."""

from dataclasses import asdict
from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from ninja import Query, Router

from gateway.account_shapes import plan_facts
from gateway.answers.base import answer, documented
from gateway.answers.usage import Usage
from gateway.auth import KeyedRequest, needs
from gateway.models.accounts import Scope
from gateway.schemas.usage import UsageFilters
from gateway.timestamps import epoch_milliseconds
from gateway.usage import Counts, usage_by_day

router = Router(tags=["usage"])


@router.get("/usage", auth=needs(Scope.READ), response=documented(Usage), by_alias=True)
def read_usage(request: KeyedRequest, filters: Query[UsageFilters]) -> HttpResponse:
    """Count mail, calls and decisions of a period: this month (UTC) if nothing is asked for, day by day on request."""
    begin, end = filters.bounds(timezone.now())
    days = usage_by_day(key=request.auth, begin=begin, end=end)
    total = Counts()
    for counts in days.values():
        total.add(counts)
    told: dict[str, Any] = {"from": epoch_milliseconds(begin), "to": epoch_milliseconds(end), **asdict(total)}
    told |= plan_facts(request.auth.account)
    if filters.daily():
        rows = [{"date": day.isoformat(), **asdict(counts)} for day, counts in days.items()]
        told |= {"breakdown": "daily", "data": rows}
    return answer(told)
