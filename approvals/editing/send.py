"""Sends a corrected message and rejects the one that it replaces: the only caller of
`Agent.send_held`.

`run_replacement` spans several transactions: it claims the row, commits, calls
MultiMail with no lock held, stores the new message's id, and gives the rejection. A
crash at any point leaves a row that the sweep goes on with: the call is repeated with
the same idempotency key, which makes one message however often it arrives.
"""

import base64
import logging
from collections.abc import Collection
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from approvals import tasks
from approvals.decisions.decide import give_verdict, who_was_first
from approvals.decisions.ruling import rulings
from approvals.editing.commands import (
    difference_in_words,
    reason_of,
    set_up_problem,
    suggestion_of,
)
from approvals.errors import AlreadyDecided
from approvals.models import Replacement
from approvals.models.replacements import EDIT, REPEAT_FOR
from common.actors import Actor, worker
from common.logs import traced
from common.postgres import clock
from mirror.errors import DeskError
from mirror.models import AttachedFile, Mailbox, Message
from mirror.recording import record_about
from mirror.states import LIVE_DECISIONS, MessageState, Outcome
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
# Above all that the call may take on the wire.
LEASE = timedelta(seconds=60)
BACKOFF = (2, 5, 10, 30, 60, 120, 300)
# MultiMail answered, and made nothing.
_REFUSALS = (
    errors.KeyRefused,
    errors.Forbidden,
    errors.Rejected,
    errors.NotFound,
    errors.Conflict,
)
_GATED = ("gated_all", "gated_send")
_NOT_MADE = "Nothing was sent, and the message is still held unchanged."


def run_replacement(*, replacement_id: int) -> str:
    """Go on with one replacement: send the new message, reject the first, note who
    edited it. Return its state.
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
    with_all = (
        "message__connection",
        "message__mailbox",
        "message__revision",
        "revision",
        "connection",
        "person",
    )
    return Replacement.objects.select_related(*with_all).get(pk=pk)


@transaction.atomic
def _claim(replacement_id: int) -> Replacement | None:
    """Claim a due row after checking once more that its message may be replaced."""
    locked = (
        Replacement.objects.due()
        .select_for_update(of=("self",), skip_locked=True)
        .filter(pk=replacement_id)
    )
    found = locked.first()
    if found is None:
        return None
    row = _read(found.pk)
    if row.state == _State.SENDING:
        if row.called_at is None and (refusal := _refusal(row)):
            return _end(row, _State.REFUSED, f"{refusal} {_NOT_MADE}")
        if row.called_at is not None and (problem := set_up_problem(row.message)):
            # Also a repeated call may be the first to arrive, at a mailbox that sends
            # without review by now.
            words = f"{problem} An earlier call may have created the edited version."
            return _end(row, _State.UNKNOWN, words)
        if row.created_at < clock() - REPEAT_FOR:
            words = "MultiMail did not confirm the edited version, and this desk no longer asks."
            return _end(row, _State.UNKNOWN, f"{words} Look for it at MultiMail.")
    Replacement.objects.filter(pk=row.pk).update(
        lease_until=Now() + LEASE, attempts=F("attempts") + 1
    )
    row.attempts += 1
    return row


def _refusal(row: Replacement) -> str:
    """Return why the first message may not be replaced any more, before anything was
    sent.
    """
    message = row.message
    decision = (
        message.decisions.filter(state__in=LIVE_DECISIONS)
        .select_related("given_by")
        .first()
    )
    if decision is not None:
        return who_was_first(decision)
    if not message.is_held:
        newest = message.decisions.select_related("given_by").order_by("-pk").first()
        what = MessageState(message.state).label.lower()
        return (
            who_was_first(newest)
            if newest
            else f"The message is no longer held: it is {what}."
        )
    if message.revision_id != row.revision_id:
        return "The message changed after you opened it. Edit the current version."
    ruling = rulings([message], _editor(row))[message.pk]
    return set_up_problem(message) if ruling.may_reject else ruling.reasons[0]


def _editor(row: Replacement) -> Actor:
    """Return the person who edited, with the roles that they have now."""
    return row.person.actor(surface="web", scopes=row.person.current_scopes())


def _send(row: Replacement) -> Replacement:
    """Make the call, and store what came of it."""
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
        attempt = min(row.attempts, len(BACKOFF))
        wait = retry_after_attempt(attempt, schedule=BACKOFF, jitter=0.2)
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
    made = str(answer["id"])
    status = str(answer.get("oversight_status") or answer.get("status") or "")[:40]
    details = {"replaced_by": made, "status": status}
    return _move(
        row, _State.SENT, "message.edit_sent", details, upstream_id=made, problem=""
    )


def _send_held(
    row: Replacement, body: dict[str, Any], without: Collection[str]
) -> dict[str, Any]:
    """Hand in the new message. Where MultiMail lets no call ask to be held, its mailbox
    must hold it, as read now.
    """
    mailbox = row.message.mailbox
    assert mailbox is not None, "only what has a mailbox is edited"
    if "oversight_mode" in without:
        problem = read_mailboxes(connection_id=row.connection_id)
        holding = Mailbox.objects.filter(is_active=True, oversight_mode__in=_GATED)
        if problem or not holding.filter(pk=mailbox.pk).exists():
            raise errors.Rejected(
                f"MultiMail lets no call ask to be held, and {mailbox} is not seen to hold it."
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
    """Return the message as MultiMail gets it: what was corrected, and all else as the
    first one had it.
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
    if (
        first.html is not None
        and (first.markdown or "").rstrip() == row.markdown.rstrip()
    ):
        body["html"] = first.html
    if first.attachments:
        body["attachments"] = []
        for file in AttachedFile.objects.filter(revision=row.revision).in_order():
            if file.content is None or file.differs:
                raise errors.Rejected(f"{file.name} is no longer here.")
            attached = {
                "name": file.name,
                "content_type": file.content_type,
                "content_base64": base64.b64encode(bytes(file.content)).decode(),
            }
            body["attachments"].append(attached)
    send_at = read_time(first.send_at)
    if send_at is not None and send_at > clock():
        # Approved first, sent at its time: otherwise it would be held only then.
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
    """End a row whose new message was not made, or of which nobody knows."""
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
    """Give the row another state and record why, if nobody else has since; return it as
    it is then.
    """
    if Replacement.objects.move(row, to=state, **fields):
        record_about(
            action,
            row.message,
            actor=ACTOR,
            fingerprint=row.revision.fingerprint,
            details={**details, "subject": row.message.subject},
            about=row,
        )
    return _read(row.pk)


def _reject_first(row: Replacement) -> None:
    """Reject the first message as replaced, in its editor's name; where that is
    refused, a person has to look.
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
        fields: dict[str, Any] = {"problem": error.sentence, "lease_until": None}
        state = _State.DONE
        # What is done still waits for its new message to arrive, so that who edited it
        # is recorded there.
        if not isinstance(error, AlreadyDecided):
            state = _State.SENT
            fields["next_attempt_at"] = None
        details = {"explanation": error.sentence, "replaced_by": row.upstream_id}
        _move(row, state, "message.edit_unfinished", details, **fields)


@transaction.atomic
def _note_edit(row: Replacement) -> None:
    """Record on the new message, once it is here, who edited it and what."""
    made = Message.objects.filter(
        connection=row.connection_id, upstream_id=row.upstream_id or None
    )
    message = made.select_related("revision").first()
    free = Replacement.objects.filter(
        pk=row.pk, noted_at=None, state__in=(_State.SENT, _State.DONE)
    )
    if message is None or not free.update(noted_at=Now()):
        return
    details = {
        "replaces": row.message.upstream_id,
        "changes": difference_in_words(stored_content(row.revision), row),
        "subject": row.subject,
    }
    record_about(
        "message.edited", message, actor=_editor(row), details=details, about=row
    )
