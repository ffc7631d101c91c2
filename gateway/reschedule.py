"""Changes what waits for its time: another time, or other content and recipients as long as nobody approved them.

What is approved is what is sent, so only the time of an approved message moves.
"""

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db import transaction

from gateway import auditing, compose, shapes
from gateway.admission import Admission, admit, check_time, note_admission
from gateway.errors import Conflict
from gateway.letters import Letter
from gateway.models import ApiKey, Email
from gateway.modes import GateTiming, Mode
from gateway.states import Change, Status

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Edit:
    """What a caller wants changed: a time, and fields of the content by name."""

    send_at: datetime | None = None
    content: dict[str, Any] = field(default_factory=dict)


def edit_scheduled(*, key: ApiKey, email: Email, edit: Edit, now: datetime) -> None:
    """Change a message that waits for its time.

    Other content is admitted and scanned like a new message, and may then wait at the gate. Raises Conflict when the
    message is not waiting or was changed at the same moment, and what admission raises; then nothing is changed.
    """
    _check_waits(email, now)
    fields = {name: value for name, value in edit.content.items() if getattr(email, name) != value}
    if fields and email.decision:
        raise Conflict(
            "This message is approved: its content and recipients stay as they were read. Only its time can be moved; "
            "to send something else, cancel it and send a new message.",
            code="already_approved",
            **shapes.outcome(email),
        )
    if edit.send_at not in (None, email.send_at):
        check_time(mailbox=email.mailbox, send_at=edit.send_at, now=now)
        fields["send_at"] = edit.send_at
    if not fields:
        return
    if fields.keys() == {"send_at"}:
        _move_time(key, email, fields["send_at"])
    else:
        _rewrite(key, email, fields, now)


def _check_waits(email: Email, now: datetime) -> None:
    if email.status != Status.SCHEDULED:
        raise Conflict(
            f"Only a scheduled message can be changed: this one is {email.status}.",
            code="not_scheduled",
            **shapes.outcome(email),
        )
    if email.send_at is None or email.send_at <= now:
        raise Conflict("This message is being sent at this moment.", code="not_scheduled", **shapes.outcome(email))


def _move_time(key: ApiKey, email: Email, send_at: datetime) -> None:
    with transaction.atomic():
        if not Email.objects.editable_as(email).update(send_at=send_at, due_at=send_at):
            raise _changed_meanwhile(email)
        auditing.note("email.rescheduled", email=email, key=key)
    log.info("email rescheduled", extra={"email": email.pk, "key": key.pk})


def _rewrite(key: ApiKey, email: Email, fields: dict[str, Any], now: datetime) -> None:
    admission = _admit_again(key, email, fields, now)
    # Once it had to wait for a person, no change of its own makes it free of that.
    kept = {"oversight_mode": admission.mode, "gated": email.gated or admission.gated, "due_at": None}
    if "markdown" in fields:
        # An HTML body of its own would still say the old words.
        kept["html"] = None
    with transaction.atomic():
        if not Email.objects.editable_as(email).move(email, Change.EDIT, **fields, **kept):
            raise _changed_meanwhile(email)
        auditing.note("email.edited", email=email, key=key, fields=sorted(fields))
        note_admission(admission, email=email, key=key)
    log.info("email edited", extra={"email": email.pk, "key": key.pk})
    compose.move_on_or_leave(email=email, now=now)


def _admit_again(key: ApiKey, email: Email, fields: dict[str, Any], now: datetime) -> Admission:
    """Ask admission as if the message were new, and by the mode that it came in by."""
    # Mail of this mode that does not wait was let through by a bypass, which may let it through again.
    bypassed = not email.gated and email.oversight_mode == Mode.GATED_SEND
    letter = Letter(
        to=email.to,
        subject=email.subject,
        markdown=email.markdown,
        cc=email.cc,
        bcc=email.bcc,
        metadata=email.metadata,
        mode=None if bypassed else Mode(email.oversight_mode),
        send_at=email.send_at,
        gate_timing=GateTiming(email.gate_timing) if email.gate_timing else None,
    )
    return admit(key=key, mailbox=email.mailbox, letter=replace(letter, **fields), now=now)


def _changed_meanwhile(email: Email) -> Conflict:
    email.refresh_from_db()
    return Conflict(
        "This message was changed, or taken for sending, at the same moment. Read it again before another try.",
        code="changed_meanwhile",
        **shapes.outcome(email),
    )
