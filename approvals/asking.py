"""Asks MultiMail what it holds, and writes down on the connection how well that went. It decides nothing."""

import logging
from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now

from approvals.models import Connection
from audit.recording import record
from people.actors import worker
from upstream import errors
from upstream.client import Client, Pending

log = logging.getLogger(__name__)

ACTOR = worker("sync")


def ask(connection: Connection, email_id: str = "") -> Pending | None:
    """Read what is held; None when MultiMail could not be read, which is written down on the connection."""
    try:
        return Client(base_url=connection.api_url, key=connection.oversight_key).list_pending(email_id=email_id)
    except errors.UpstreamError as error:
        if email_id and isinstance(error, errors.NotFound):
            # One message that is not known there says nothing about the connection.
            return Pending(rows=[], closed=None, is_our_gateway=True)
        if isinstance(error, errors.Throttled):
            wait = timedelta(seconds=error.retry_after)
            Connection.objects.filter(pk=connection.pk).update(wait_until=Now() + wait)
        note_failure(connection, error.sentence)
        return None


@transaction.atomic
def note_failure(connection: Connection, sentence: str) -> None:
    began = Connection.objects.filter(pk=connection.pk, failing_since=None).update(failing_since=Now())
    Connection.objects.filter(pk=connection.pk).update(last_error=sentence)
    if began:
        record("connection.failing", actor=ACTOR, connection=connection.pk, details={"explanation": sentence})
        log.warning("MultiMail unreachable", extra={"connection": connection.slug, "reason": sentence})


@transaction.atomic
def note_recovery(connection: Connection) -> None:
    """A whole read worked: the key is good, also where one that was refused had paused the connection."""
    unwell = Connection.objects.filter(pk=connection.pk).exclude(failing_since=None, paused_at=None)
    if unwell.update(failing_since=None, last_error="", paused_at=None, paused_because=""):
        record("connection.recovered", actor=ACTOR, connection=connection.pk)
