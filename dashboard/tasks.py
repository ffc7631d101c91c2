"""The task that workers send for every periodic job. It runs the job once in each
period, even if several workers send it.
"""

from datetime import timedelta

from celery import current_app, shared_task
from django.db.models.functions import Now

from common.postgres import clock
from dashboard.models import Tick


@shared_task
def probe() -> str:
    """Ask PUBLIC_URL for this desk, and look for the newest seals in their file."""
    # Imported here, because the gateway's worker lacks these apps.
    from dashboard import probes

    return probes.probe()


@shared_task
def tick(job: str, seconds: int) -> str:
    """Run the task named `job`, unless it ran in this period of `seconds`, by the
    database's clock.
    """
    # Ticks of the future are from before the database's clock was set back.
    Tick.objects.filter(job=job, at__gt=Now() + timedelta(minutes=1)).delete()
    period = int(clock().timestamp() // seconds)
    _, is_first = Tick.objects.get_or_create(job=job, period=period)
    if not is_first:
        return "done by another"
    Tick.objects.filter(job=job, at__lt=Now() - timedelta(hours=1)).delete()
    return str(current_app.tasks[job].run())
