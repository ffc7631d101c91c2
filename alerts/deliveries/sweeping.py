"""The periodic sweep of alerts: acts that were not planned, work of each kind of
channel, and due deliveries.
"""

from alerts import tasks
from alerts.channels import all_channels
from alerts.deliveries.drain import with_something_due
from alerts.deliveries.planning import plan_waiting
from alerts.models import Delivery, UnplannedAct
from common.sweeps import do_all, duty


def sweep() -> str:
    """Do every duty, and say how many destinations had something due, and which duties
    failed.
    """
    duties = {
        "plan": duty(
            lambda: UnplannedAct.objects.order_by("pk"), lambda _: plan_waiting()
        )
    }
    for channel in all_channels().values():
        duties |= channel.duties()
    duties["due"] = duty(
        lambda: Delivery.objects.due().order_by("next_attempt_at"), _send_due
    )
    result = do_all(duties)
    failed = f", but for: {', '.join(result.failed)}" if result.failed else ""
    return f"{result.done.get('due') or 'nothing'} due{failed}"


def _send_due(_: list[int]) -> int:
    destinations = with_something_due()
    tasks.drain.delay_each(destinations)
    return len(destinations)
