"""Sends an edited message to MultiMail, and rejects the message that it replaces; run
by a Celery task for each `Replacement` row. This is the only caller of
`Agent.send_held`.

`run_replacement` takes several transactions. It claims the row and commits; calls
MultiMail while it holds no lock; stores the id of the new message; and gives the
verdict that rejects the first one. If the worker dies at any point, the sweep goes on
with the row. The call is then repeated with the same idempotency key, so that MultiMail
makes only one message of it.
"""

import base64
import logging
from collections.abc import Collection
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Least, Now

from approvals import tasks
from approvals.decisions.decide import give_verdict, who_was_first, why_not_held
from approvals.decisions.ruling import ruling_of
from approvals.editing.commands import (
    difference_in_words,
    is_text_changed,
    reason_of,
    set_up_problem,
    suggestion_of,
)
from approvals.models import Decision, Replacement
from approvals.models.replacements import EDIT, REPEAT_FOR
from common.actors import Actor, worker
from common.logs import traced
from common.postgres import clock
from common.unique_keys import text_in
from mirror.errors import DeskError
from mirror.models import AttachedFile, Mailbox, Message
from mirror.recording import record_about
from mirror.states import Outcome
from mirror.store import stored_content
from mirror.sync import health
from mirror.sync.account import read_mailboxes, without_refused
from outgoing.backoff import retry_after_attempt
from upstream import errors
from upstream.agent import Agent
from upstream.events import read_time

log = logging.getLogger(__name__)

ACTOR = worker("edits")
_State = Replacement.State
# Longer than the calls of one attempt can take.
LEASE = timedelta(seconds=60)
# Seconds until the next attempt, by the number of attempts.
BACKOFF = (2, 5, 10, 30, 60, 120, 300)
# After these errors MultiMail has made no message: it or this desk refused the call.
_REFUSALS = (
    errors.KeyRefused,
    errors.Forbidden,
    errors.Rejected,
    errors.NotFound,
    errors.Conflict,
)
# The oversight modes in which a mailbox holds what it sends.
_GATED = ("gated_all", "gated_send")
_NOT_MADE = "The edited version was not sent."


def run_replacement(replacement_id: int) -> str:
    """Do the next steps of one replacement that is due: send the new message, reject
    the first one, record on the new one who edited it. Return its state, or "not due".
    """
    row = _claim(replacement_id)
    if row is None:
        return "not due"
    with traced(row.message.trace):
        if row.state == _State.SENDING:
            row = _send(row)
        if row.state == _State.SENT:
            _reject_first(row)
        _note_edit(row)
        row = _read(row.pk)
        log.info(
            "replacement carried on",
            extra={"replacement": row.reference, "state": row.state},
        )
    return row.state


def _read(pk: int) -> Replacement:
    # Loads a row with all that its steps need.
    rows = Replacement.objects.select_related(
        "message__connection", "message__mailbox", "message__revision"
    )
    return rows.select_related("revision", "connection", "person").get(pk=pk)


@transaction.atomic
def _claim(replacement_id: int) -> Replacement | None:
    """Claim a due row, and return it; None if it is not due or another worker has it.
    If its message may no longer be replaced, the row is ended instead, and returned.
    """
    due = (
        Replacement.objects.due()
        .select_for_update(of=("self",), skip_locked=True)
        .filter(pk=replacement_id)
        .first()
    )
    if due is None:
        return None
    row = _read(due.pk)
    if row.state == _State.SENDING:
        if row.called_at is None and (refusal := _refusal(row)):
            return _end(row, _State.REFUSED, f"{refusal} {_NOT_MADE}")
        if row.called_at is not None and (problem := set_up_problem(row.message)):
            # A repeated call may be the first that arrives. By now the mailbox may send
            # without review.
            problem += " An earlier call may have created the edited version."
            return _end(row, _State.UNKNOWN, problem)
        if row.created_at < clock() - REPEAT_FOR:
            if row.called_at is None:
                words = f"MultiMail could not be called in time. {_NOT_MADE}"
                return _end(row, _State.REFUSED, words)
            words = "MultiMail did not confirm the edited version, and this desk no longer asks."
            return _end(row, _State.UNKNOWN, f"{words} Look for it at MultiMail.")
    Replacement.objects.filter(pk=row.pk).update(
        lease_until=Now() + LEASE, attempts=F("attempts") + 1
    )
    row.attempts += 1
    return row


def _refusal(row: Replacement) -> str:
    """Return why the first message may no longer be replaced, as a sentence; empty if
    it may. Asked before the first call.
    """
    message = row.message
    decision = Decision.objects.in_force_on(message).first()
    if decision is not None:
        return who_was_first(decision)
    if not message.is_held:
        return why_not_held(message)
    if message.revision_id != row.revision_id:
        return "The message changed after you opened it. Edit the current version."
    ruling = ruling_of(message, _editor(row))
    return set_up_problem(message) if ruling.may_reject else ruling.reasons[0]


def _editor(row: Replacement) -> Actor:
    """Return as an actor the person who edited, with their current roles."""
    return row.person.actor(surface="web", scopes=row.person.current_scopes())


def _send(row: Replacement) -> Replacement:
    """Send the new message to MultiMail, store the result, and return the row."""
    may_have_left = row.called_at is not None
    try:
        body = _body(row)
        Replacement.objects.filter(pk=row.pk, called_at=None).update(called_at=Now())
        answer = without_refused(row.connection, partial(_send_held, row, body))
    except _REFUSALS as error:
        if may_have_left:
            words = f"{error.sentence} An earlier call may have created the edited version: look for it at MultiMail."
            return _end(row, _State.UNKNOWN, words)
        return _end(row, _State.REFUSED, f"{error.sentence} {_NOT_MADE}")
    except (errors.NotSent, errors.Throttled, errors.OutcomeUnknown) as error:
        health.wait(row.connection, error)
        if isinstance(error, errors.OutcomeUnknown):
            may_have_left = True
        # The call is repeated later, with the same idempotency key.
        wait = retry_after_attempt(
            min(row.attempts, len(BACKOFF)), schedule=BACKOFF, jitter=0.2
        )
        seconds = wait or BACKOFF[-1]
        fields: dict[str, Any] = {} if may_have_left else {"called_at": None}
        Replacement.objects.filter(pk=row.pk, state=_State.SENDING).update(
            problem=f"{error.sentence} The desk tries again.",
            lease_until=None,
            next_attempt_at=Now() + timedelta(seconds=seconds),
            **fields,
        )
        tasks.send_replacement.apply_async_on_commit((row.pk,), countdown=seconds + 0.1)
        return _read(row.pk)
    if answer.get("idempotency_mismatch"):
        words = "MultiMail has another message with the idempotency key of this edit."
        return _end(row, _State.REFUSED, f"{words} {_NOT_MADE}")
    new_id = str(answer["id"])
    status = text_in(answer, "oversight_status", "status", most=40)
    details = {"replaced_by": new_id, "status": status}
    return _move(
        row, _State.SENT, "message.edit_sent", details, upstream_id=new_id, problem=""
    )


def _send_held(
    row: Replacement, body: dict[str, Any], without: Collection[str]
) -> dict[str, Any]:
    """Call MultiMail to send the new message as held, and return the answer; `without`
    are fields that this MultiMail does not take.

    If it does not take the field that asks to be held, or may ignore it, the mailbox is
    read first, and must have an oversight mode that holds what it sends.
    """
    mailbox = row.message.mailbox
    assert mailbox is not None, "only what has a mailbox is edited"
    # The path that takes files is documented without `oversight_mode`.
    if "oversight_mode" in without or (
        "attachments" in body and not row.connection.is_our_gateway
    ):
        problem = read_mailboxes(connection_id=row.connection_id)
        holding = Mailbox.objects.filter(is_active=True, oversight_mode__in=_GATED)
        if problem:
            # It is not known yet whether it does, so this is tried again.
            raise errors.NotSent(problem)
        if not holding.filter(pk=mailbox.pk).exists():
            raise errors.Rejected(
                f"MultiMail may let no call ask to be held, and {mailbox} is not seen to hold what it sends."
            )
    return Agent(
        base_url=row.connection.api_url, key=row.connection.agent_key
    ).send_held(
        mailbox=mailbox.address,
        mailbox_id=mailbox.upstream_id,
        message=body,
        idempotency_key=row.idempotency_key,
        without=without,
    )


def _body(row: Replacement) -> dict[str, Any]:
    """Return the new message as data for MultiMail: the edited fields, and all others
    as in the first message.
    """
    first = stored_content(row.revision)
    body: dict[str, Any] = {
        "to": row.to,
        "cc": row.cc,
        "bcc": row.bcc,
        "subject": row.subject,
        "markdown": row.markdown,
    }
    if first.reply_to:
        body["reply_to"] = first.reply_to
    if first.html is not None and not is_text_changed(first, row.markdown):
        body["html"] = first.html
    if first.attachments:
        body["attachments"] = []
        for file in AttachedFile.objects.filter(revision=row.revision).in_order():
            if file.content is None or file.differs:
                raise errors.Rejected(f"{file.name} is no longer here.")
            attachment = {
                "name": file.name,
                "content_type": file.content_type,
                "content_base64": base64.b64encode(bytes(file.content)).decode(),
            }
            if content_id := first.attachments[file.place - 1].content_id:
                attachment["content_id"] = content_id
            body["attachments"].append(attachment)
    send_at = read_time(first.send_at)
    if send_at is not None and send_at > clock():
        # Have it held now, and sent at its time after approval. Without this, MultiMail
        # may hold it only at that time.
        body |= {"send_at": first.send_at, "gate_timing": "gate_first"}
    if row.connection.is_our_gateway:
        body["replaces"] = row.message.upstream_id
    body["metadata"] = {
        **row.message.trigger,
        EDIT: row.reference,
        "countersign_replaces": row.message.upstream_id,
    }
    return body


def _end(row: Replacement, state: str, problem: str) -> Replacement:
    """End a row whose new message was not made, or of which that is not known."""
    return _move(
        row,
        state,
        "message.edit_refused",
        {"explanation": problem},
        problem=problem,
        lease_until=None,
        next_attempt_at=None,
    )


@transaction.atomic
def _move(
    row: Replacement, state: str, action: str, details: dict[str, str], **fields: Any
) -> Replacement:
    """Give the row another state and record that in the ledger, unless its state has
    changed since it was read. Return the row as it is then.
    """
    if Replacement.objects.move(row, to=state, **fields):
        record_about(
            action,
            row.message,
            ACTOR,
            fingerprint=row.revision.fingerprint,
            details={**details, "subject": row.message.subject},
            about=row,
        )
    return _read(row.pk)


def _reject_first(row: Replacement) -> None:
    """Reject the first message as replaced, in the name of whoever edited it. If that
    is refused, store why, so that a person can finish it.
    """
    first = stored_content(row.revision)
    try:
        with transaction.atomic():
            give_verdict(
                message=row.message.public_id,
                actor=_editor(row),
                outcome=Outcome.REJECT,
                fingerprint=row.revision.fingerprint,
                reason=reason_of(first, row),
                feedback={"replaced_by": row.upstream_id, **suggestion_of(first, row)},
            )
            Replacement.objects.move(row, to=_State.DONE, problem="", lease_until=None)
    except DeskError as error:
        # No worker tries again. Who edited it is still to be recorded, once the new
        # message has arrived; while both are held, a person can finish it.
        _move(
            row,
            _State.DONE,
            "message.edit_unfinished",
            {"explanation": error.sentence, "replaced_by": row.upstream_id},
            problem=error.sentence,
            lease_until=None,
        )


@transaction.atomic
def _note_edit(row: Replacement) -> None:
    """Record on the new message, once the mirror has it, who edited it and what they
    changed.
    """
    new_messages = Message.objects.filter(
        connection=row.connection_id, upstream_id=row.upstream_id or None
    )
    message = new_messages.select_related("revision").first()
    unrecorded = Replacement.objects.filter(
        pk=row.pk, noted_at=None, state__in=(_State.SENT, _State.DONE)
    )
    if message is None or not unrecorded.update(noted_at=Now()):
        return
    if ends := row.message.expires_at:
        # An edit gives a message no more time to be approved.
        message.row.update(expires_at=Least("expires_at", ends))
    record_about(
        "message.edited",
        message,
        _editor(row),
        details={
            "replaces": row.message.upstream_id,
            "changes": difference_in_words(stored_content(row.revision), row),
            "subject": row.subject,
        },
        about=row,
    )
