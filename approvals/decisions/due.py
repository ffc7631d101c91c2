"""Does something with each message that is due for it, as the sweep asks: alone, in a
transaction of its own and under its lock.
"""

import logging
from collections.abc import Callable

from django.db import transaction

from approvals.desk_messages import DeskMessageQuerySet
from mirror import store
from mirror.models import Message

log = logging.getLogger(__name__)

_BATCH = 200


def do_due(
    due: Callable[[], DeskMessageQuerySet],
    do: Callable[[Message], bool],
    *,
    order: tuple[str, ...] = (),
    failure: str,
) -> int:
    """Do it with some of the messages that are due, and still are under their lock;
    return with how many it was done.

    One that fails keeps no other waiting: it is logged, and stays due.
    """
    done = 0
    for message in due().select_related("connection").order_by(*order)[:_BATCH]:
        try:
            with transaction.atomic():
                locked = store.lock_current(message)
                if locked is not None and due().filter(pk=locked.pk).exists():
                    done += do(locked)
        except Exception:
            log.exception(failure, extra={"email": message.upstream_id})
    return done
