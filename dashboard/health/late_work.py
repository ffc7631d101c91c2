"""Work that should have been done a minute ago, and that nothing but a worker keeps waiting.

What a kill switch, a pause, a failing MultiMail or a slow destination blocks is not late: that is no fault of a worker.
"""

from django.db.models.functions import Now

from alerts.models import Delivery
from approvals.models import Decision
from audit.sealing.status import sealing_state
from common.grace import STUCK_AFTER
from common.postgres import clock
from mirror.models import Message
from mirror.models.connections import is_well


def late_work() -> list[str]:
    """Return the names of what is late. The doctor names each item, by what needs attention."""
    long_ago = Now() - STUCK_AFTER
    sealing = sealing_state(clock())
    is_late = {
        "decisions": Decision.objects.due()
        .filter(due_at__lt=long_ago, message__connection__failing_since=None)
        .exists(),
        "contents": Message.objects.long_unread().filter(is_well("connection__")).exists(),
        "alerts": Delivery.objects.overdue().exists(),
        "ledger": sealing.is_on and sealing.is_late and not sealing.is_blocked and not sealing.is_stopped,
    }
    return [name for name, late in is_late.items() if late]
