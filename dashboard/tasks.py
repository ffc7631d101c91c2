"""The beat's one task: runs a job once a period, even if several beats send it."""

from celery import current_app, shared_task

from common.postgres.rows import run

# Writes the tick, unless it is there, and deletes those of the job that are an hour old.
_TICK = """
WITH made AS (
  INSERT INTO dashboard_tick (job, period)
  VALUES (%(job)s, floor(extract(epoch FROM clock_timestamp()) / %(seconds)s)) ON CONFLICT DO NOTHING RETURNING id
), deleted AS (
  DELETE FROM dashboard_tick WHERE job = %(job)s AND at < now() - interval '1 hour' AND EXISTS (SELECT FROM made)
)
SELECT EXISTS (SELECT FROM made)
"""


@shared_task
def tick(job: str, seconds: int) -> str:
    """Run the task named `job`, unless it ran in this period of `seconds`, by the database's clock."""
    is_first = run(_TICK, {"job": job, "seconds": seconds}).row()[0]
    if not is_first:
        return "done by another"
    return str(current_app.tasks[job].run())
