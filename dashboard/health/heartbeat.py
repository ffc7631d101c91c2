"""Finds background jobs that stopped, by their ticks."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Max
from django.db.models.functions import Now

from common.grace import START, STUCK_AFTER
from dashboard.models import Tick

# One job of each worker, and what does not happen without it.
_WORK = {
    "approvals.tasks.sweep": "Decisions are not carried out, and MultiMail is not read",
    "alerts.tasks.sweep": "Alerts are not sent",
}


@dataclass(frozen=True)
class SilentJob:
    """A job that stopped; `since` is None if it never ran."""

    what: str
    since: datetime | None


def silent_jobs() -> list[SilentJob]:
    """Return the jobs that last ran too long ago, by the database's clock."""
    ticks = Tick.objects.filter(job__in=_WORK).values("job").annotate(last=Max("at"))
    seen = dict(ticks.values_list("job", "last"))
    awake = set(
        ticks.filter(last__gt=Now() - STUCK_AFTER).values_list("job", flat=True)
    )
    return [
        SilentJob(what, seen.get(job))
        for job, what in _WORK.items()
        if job not in awake
    ]


def is_warming_up() -> bool:
    """Whether the jobs have only just started to run again, so that late work may not
    be done yet.
    """
    ticks = Tick.objects.filter(job__in=_WORK)
    before = ticks.filter(at__lte=Now() - START, at__gt=Now() - START - STUCK_AFTER)
    return ticks.filter(at__gt=Now() - STUCK_AFTER).exists() and not before.exists()
