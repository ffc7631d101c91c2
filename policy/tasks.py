"""The Celery tasks of this app. Each calls one command. Tasks that call MultiMail use
`connection_task`, which limits how many run at once for a connection (mirror.tasks).
"""

from celery import shared_task

from common.tasks import AfterCommitTask
from mirror.models import Connection
from mirror.tasks import connection_task
from policy import gates, kill_switch


@connection_task("pk")
def read_refusals(connection_id: int) -> str:
    """Read which mail the gate of one connection refused since the last time."""
    return gates.read_refusals(connection_id=connection_id)


@shared_task(base=AfterCommitTask)
def read_all_refusals() -> str:
    """Enqueue `read_refusals` for each healthy connection to our own gateway."""
    read_refusals.delay_each(
        Connection.objects.to_read()
        .filter(is_our_gateway=True)
        .values_list("pk", flat=True)
    )
    return "sent"


@connection_task("pk")
def bring_minimum(connection_id: int) -> str:
    """Set the policy's minimum oversight mode at one gateway."""
    return gates.bring_minimum(connection_id=connection_id)


@connection_task("pk", is_urgent=True)
def tell_stops(connection_id: int) -> str:
    """Tell one gateway which of its mailboxes the kill switch stops."""
    return kill_switch.tell_gateway(connection_id=connection_id) or "told"


@connection_task("mailboxes__gate_list")
def push_list(gate_list_id: int) -> str:
    """Push the allowlist of one mailbox to its gate."""
    return gates.push_list(gate_list_id=gate_list_id)
