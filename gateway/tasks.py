"""The gateway's Celery tasks: each takes an id and calls one command. The sweep finds
rows for which no task was sent.

A task imports its command when it runs, because the modules of the commands import this
one to send tasks.
"""

from celery import shared_task

from common.tasks import AfterCommitTask


# All time limits of one attempt together (smtp.py) are below the worker's time limit
# (dashboard/worker.py).
@shared_task(base=AfterCommitTask)
def send_email(email_id: str) -> str:
    """Make one attempt at one email."""
    from gateway.messages import outbox

    return outbox.send_due(email_id)


@shared_task(base=AfterCommitTask)
def send_notice(notice_id: str) -> str:
    """Make one attempt at one mail to an oversight address."""
    from gateway import notices

    return notices.send_due(notice_id)


@shared_task(base=AfterCommitTask)
def deliver_webhook(delivery_id: int) -> str:
    """Make one attempt at one webhook delivery. Then send the task for the next
    delivery of the same subscription, so that it waits behind other work.
    """
    from gateway.webhooks import deliveries

    following = deliveries.deliver(delivery_id)
    if following is not None:
        deliver_webhook.delay_on_commit(following)
    return "done"


@shared_task(base=AfterCommitTask)
def probe_webhook(webhook_id: str) -> str:
    """Try a paused webhook endpoint once."""
    from gateway.webhooks import deliveries

    return "awake" if deliveries.probe(webhook_id) else "paused"


@shared_task(base=AfterCommitTask)
def sweep() -> str:
    """Send tasks for everything that is due, and finish what a crash interrupted."""
    from gateway import sweeping

    return sweeping.sweep()


@shared_task(base=AfterCommitTask)
def note_waiting() -> str:
    """Note for the desk which mail the mail server does not take, which domains lack
    their DNS records, and what the gateway does for the domain of the desk's own mail.
    """
    from gateway import domains
    from gateway.messages import waiting

    domains.look_again()
    domains.note_own_domain()
    return f"{waiting.note_waiting()} causes"
