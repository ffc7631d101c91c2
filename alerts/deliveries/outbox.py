"""Plans deliveries from what the ledger records, in the same transaction; nobody calls this app to announce things."""

import logging
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from alerts.deliveries.planning import CONTENT_PAUSE, PLANNED_ACTIONS, Planned
from audit.models import Entry
from common.nudge import nudge
from common.postgres.rows import travels_together

log = logging.getLogger(__name__)


def _pause(entry: Entry) -> float | None:
    return CONTENT_PAUSE.total_seconds() + 0.05 if entry.action == "message.held" else None


def on_recorded(entry: Entry, details: Mapping[str, str], **_: Any) -> None:
    """Plan what an entry asks for. A mistake here is logged, never costs the act, and the sweep plans it again."""
    if entry.action not in PLANNED_ACTIONS:
        return
    try:
        planned = Planned(entry)
    except Exception:
        if travels_together():
            # Whoever sends statements together does them over, one by one, when something fails.
            raise
        log.exception("alert not planned", extra={"entry": entry.pk, "action": entry.action})
    else:
        transaction.on_commit(lambda: _nudge(planned), robust=True)


def _nudge(planned: Planned) -> None:
    for delivery in planned.deliveries:
        nudge("alerts.tasks.deliver", delivery, countdown=_pause(planned.entry))
