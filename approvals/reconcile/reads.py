"""Asks MultiMail about single messages: for the content of one that was reported as
held, and what became of one that is said to be held no longer. Where it cannot be asked
about one, the list of held messages is read (`whole_read.py`). It decides nothing.

Functions that tasks call return a short text for the log.
"""

import logging
from datetime import datetime

from django.db.models.functions import Now

from approvals.held_rows import mirror_row
from approvals.reconcile import closing
from approvals.reconcile.whole_read import FEW, read_everything
from common.logs import traced
from common.postgres import clock
from mirror.models import Message
from mirror.sync import reads

log = logging.getLogger(__name__)


def hydrate(message_id: int, now: datetime) -> str:
    """Fetch the content of one held message: from our gateway by its id. Hosted
    MultiMail shows contents in its list, which is read; if that is long, the message is
    asked for by its id where a key can do that, else on the pages on which it is likely
    to be.
    """
    message = (
        Message.objects.not_hydrated()
        .select_related("connection")
        .filter(pk=message_id)
        .first()
    )
    if message is None or message.is_given_up or message.is_put_off(now):
        return "nothing to fetch"
    if message.connection.removed_at:
        # Its webhook came while the connection was being removed.
        return closing.leave_behind(message, now)
    with traced(message.trace):
        connection = message.connection
        if connection.is_our_gateway:
            return ask_about(message.pk, now)
        if connection.pending_pages.filter(number=1).exists():
            if reads.can_ask(message):
                return ask_about(message.pk, now)
            row, _ = reads.look_for(message)
            if row:
                is_mirrored = mirror_row(connection, row, now)
                return "fetched" if is_mirrored else "unreadable"
        return read_everything(connection.pk, now)


def ask_about(message_id: int, now: datetime) -> str:
    """Ask MultiMail for the status of one message, for instance because its next event
    is late, and bring the mirror and its decision up to date.
    """
    message = (
        Message.objects.select_related("connection", "mailbox")
        .filter(pk=message_id)
        .first()
    )
    if message is None or message.connection.removed_at:
        return "gone"
    if not message.connection.row.rested().exists():
        return "told to wait"
    # Of several callers at once only one succeeds with this update. The next question
    # is due by the same clock, the database's.
    unasked = message.row.filter(asked_at=message.asked_at)
    if not unasked.update(asked_at=Now()):
        return "being asked"
    began = clock()
    with traced(message.trace):
        upstream = reads.ask_status(message)
        if upstream is None:
            return "not known"
        if not upstream.held:
            if message.is_held:
                if upstream.reported or upstream.later_events:
                    return closing.close(message, upstream, now, began)
                # MultiMail does not know the message, perhaps only for this key: a
                # whole read shows whether it is held.
                return read_everything(message.connection_id, now)
            return closing.catch_up(message, upstream, now, began)
        if not message.is_held:
            closing.reopen(message.connection, message.upstream_id, began, now)
        row = upstream.row
        if row is None and message.hydrated_at is None:
            # What hosted MultiMail answers about one message has its content.
            row = {**upstream.answer, "id": message.upstream_id}
        is_mirrored = row is None or mirror_row(message.connection, row, now)
        closing.refute_reports(message, began)
        if not is_mirrored:
            return "unreadable"
        # Its content was here before the question, or was not asked for.
        if row is None or message.hydrated_at is not None:
            return "held"
        log.info("content fetched", extra={"email": message.upstream_id})
        return "fetched"


def check_reports(connection_id: int, now: datetime) -> str:
    """Find out whether what webhooks reported about the end of messages is true. Up to
    FEW messages are asked about one by one; if more held ones are reported, the whole
    list is read.

    Messages that are not held can only be asked about one by one; those beyond FEW are
    left to the sweep.

    Return "again" if one more whole read is needed, because being absent from one list
    proves nothing.
    """
    began = clock()
    reported = (
        Message.objects.reported_unconfirmed()
        .filter(connection=connection_id)
        .select_related("connection")
    )
    to_ask_about = [
        message
        for message in reported.reported_and_ended()
        if closing.apply_reports(message)
    ]
    outcomes = ", ".join(ask_about(message.pk, now) for message in to_ask_about[:FEW])
    reported = reported.held()
    held = list(reported[: FEW + 1])
    if not held:
        return outcomes or "nothing to check"
    if len(held) <= FEW and all(map(reads.can_ask, held)):
        outcome = ", ".join(ask_about(message.pk, now) for message in held)
    else:
        outcome = read_everything(connection_id, now)
    is_first = reported.filter(missing_since__gte=began).exists()
    return "again" if outcome == "not now" or is_first else outcome
