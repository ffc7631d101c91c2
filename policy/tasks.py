"""Celery's tasks of the policy; each that asks MultiMail runs in a slot of its
connection (mirror.tasks).
"""

from functools import partial

from celery import shared_task

from common.tasks import AfterCommitTask
from mirror.models import Connection
from mirror.tasks import connection_task
from policy.models import GateList


@connection_task("pk")
def read_refusals(connection_id: int) -> str:
    """Read what the gate of one connection refused."""
    from policy.allowlists import gates

    return gates.read_refusals(connection_id=connection_id)


@shared_task(base=AfterCommitTask)
def read_all_refusals() -> str:
    """Send `read_refusals` for each healthy connection to our own gateway."""
    read_refusals.delay_each(
        Connection.objects.to_read()
        .filter(is_our_gateway=True)
        .values_list("pk", flat=True)
    )
    return "sent"


@connection_task("pk")
def bring_minimum(connection_id: int) -> str:
    """Bring the organisation's minimum oversight mode to one gateway."""
    from policy import gate_minimum

    return gate_minimum.bring_minimum(connection_id=connection_id)


@connection_task("mailboxes__gate_lists")
def push_list(gate_list_id: int) -> str:
    """Bring one allowlist to its gate."""
    from policy.allowlists import gates

    return gates.push_list(gate_list_id=gate_list_id)


@shared_task(base=AfterCommitTask)
def push_lists() -> str:
    """Send a push of each allowlist that its gate lacks, including lists of new
    mailboxes.
    """
    GateList.objects.ensure()
    push_list.delay_each(GateList.objects.to_push().values_list("pk", flat=True)[:100])
    return "sent"


@shared_task(base=AfterCommitTask)
def count_hits() -> str:
    """Count what entries of allowlists let through, for a few seconds at a time."""
    from policy.allowlists import judgement

    return count_hits.repeat(partial(judgement.count_hits, limit=100))
