"""A job runs once in a period, however many beats send it, and old ticks go."""

from datetime import timedelta

from django.db.models.functions import Now

from dashboard.models import Tick
from dashboard.tasks import tick
from mirror.tasks import forget

JOB = forget.name
DAY = 86400


def test_job_runs_once_in_a_period_and_its_old_ticks_are_deleted(monkeypatch):
    monkeypatch.setattr(forget, "run", lambda: "done")
    Tick.objects.create(job=JOB, period=-1, at=Now() - timedelta(minutes=61))
    Tick.objects.create(job=JOB, period=-2, at=Now() - timedelta(minutes=59))
    Tick.objects.create(job="another", period=1, at=Now() - timedelta(days=1))
    assert tick(JOB, 50 * 365 * DAY) == "done"
    assert tick(JOB, 50 * 365 * DAY) == "done by another"
    assert sorted(Tick.objects.values_list("job", "period")) == [
        ("another", 1),
        (JOB, -2),
        (JOB, 1),
    ]
