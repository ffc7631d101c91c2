"""The beat's one task: runs a job once a period, even if several beats send it."""

from datetime import timedelta

from celery import current_app, shared_task
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from common.postgres import clock
from dashboard.models import Tick

KEEP = timedelta(hours=1)


@shared_task
def tick(job: str, seconds: int) -> str:
    """Run the task named `job`, unless it ran in this period of `seconds`, by the database's clock."""
    try:
        with transaction.atomic():
            Tick.objects.create(job=job, period=int(clock().timestamp() // seconds))
    except IntegrityError:
        return "done by another"
    Tick.objects.filter(job=job, at__lt=Now() - KEEP).delete()
    return str(current_app.tasks[job].run())
