"""Takes what an agent wants sent: stores it once, then moves it on to the gate or to the outbox.

Accepting and moving on are two transactions. What is accepted survives a crash between them; the sweep moves it on.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models.functions import Now

from common.identifiers import ulid
from common.mail_addresses import domain_of
from common.nudge import nudge
from gateway import auditing, event_names, events, limits
from gateway.admission import Admission, admit, note_admission
from gateway.errors import Conflict
from gateway.letters import Letter, Parent
from gateway.models import ApiKey, Attachment, Email, IdempotencyRecord, Mailbox
from gateway.modes import GateTiming
from gateway.states import Change, Direction, Status

log = logging.getLogger(__name__)

KEY_WINDOW = timedelta(hours=24)
CONTENT_WINDOW = timedelta(seconds=60)


@dataclass(frozen=True)
class Accepted:
    """An email that is stored; `repeated` when an earlier request with the same key made it."""

    email: Email
    repeated: bool = False
    mismatch: bool = False


def accept_letter(*, key: ApiKey, mailbox: Mailbox, letter: Letter, now: datetime) -> Accepted:
    """Store one letter as an email that waits for its scan, or find the one that the same key made before.

    Raises Forbidden, Invalid, TooManyRequests, or Conflict for the same content without a key within a minute; then
    nothing is stored.
    """
    # What a key has made stays made, whatever the lists, the mode or the quota have become since.
    if letter.idempotency_key and (made := _made_before(key, mailbox, letter)):
        return made
    admission = admit(key=key, mailbox=mailbox, letter=letter, now=now)
    email = _email_of(key, mailbox, letter, admission, now)
    digest = letter.digest()
    with transaction.atomic():
        # The record comes first: who loses the race for a key has then written nothing. Its foreign key is deferred.
        if not _remember(email, letter, digest):
            return _earlier(email, letter, digest)
        # After the key, so that a repeated one is answered although the quota is used up.
        limits.check_quota(account=key.account, sandbox=key.sandbox, now=now)
        email.save(force_insert=True)
        Attachment.objects.attach(email, letter.files)
        auditing.note("email.submitted", email=email, key=key, oversight_mode=email.oversight_mode)
        note_admission(admission, email=email, key=key)
    log.info(
        "email accepted",
        extra={"email": email.pk, "mailbox": mailbox.pk, "mode": email.oversight_mode, "sandbox": key.sandbox},
    )
    return Accepted(email)


def move_on(*, email: Email, now: datetime) -> bool:
    """Bring an accepted email to the gate or into the outbox; False when somebody else has done so.

    There is no scanner yet: this is where its verdict will be asked for.
    """
    waits_first = email.send_at is not None and email.gate_timing == GateTiming.SCHEDULE_FIRST
    with transaction.atomic():
        if email.gated and not waits_first:
            return _hold(email, Change.HOLD, now)
        if not Email.objects.move(email, Change.RELEASE, due_at=email.send_at or Now()):
            return False
        if email.send_at is None:
            nudge("gateway.tasks.send_email", email.pk)
    log.info("email released", extra={"email": email.pk})
    return True


def move_on_or_leave(*, email: Email, now: datetime) -> None:
    """Move an email on, for a caller whose own work is done: what fails here is left for the sweep."""
    try:
        move_on(email=email, now=now)
    except DatabaseError as error:
        log.warning("left for the sweep", extra={"email": email.pk, "reason": type(error).__name__})


def ask(*, email: Email, now: datetime) -> bool:
    """Bring a scheduled email, whose time has come before anybody was asked, to the gate.

    Under `hold_all` that is also mail which its mailbox would have let go: from here on it needs an approval.
    """
    with transaction.atomic():
        return _hold(email, Change.ASK, now, gated=True, due_at=None, lease_until=None)


def _hold(email: Email, change: Change, now: datetime, **fields: Any) -> bool:
    if not Email.objects.move(email, change, **fields):
        return False
    events.announce(event_names.PENDING, email=email, now=now)
    log.info("email held", extra={"email": email.pk})
    return True


def _email_of(key: ApiKey, mailbox: Mailbox, letter: Letter, admission: Admission, now: datetime) -> Email:
    pk = ulid()
    timing = letter.gate_timing or mailbox.default_gate_timing
    return Email(
        id=pk,
        account=key.account,
        mailbox=mailbox,
        direction=Direction.OUTBOUND,
        status=Status.PENDING_SCAN,
        sandbox=key.sandbox,
        sent_by_key=key,
        created_at=now,
        from_address=mailbox.address,
        # The name is part of what the recipient sees, so a later change of the mailbox must not reach held mail.
        from_name=mailbox.display_name,
        reply_to=letter.reply_to,
        to=letter.to,
        cc=letter.cc,
        bcc=letter.bcc,
        subject=letter.subject,
        markdown=letter.markdown,
        html=letter.html,
        has_attachments=bool(letter.files),
        message_id_header=f"<{pk.lower()}@{domain_of(mailbox.address)}>",
        **_place_of(letter.parent),
        metadata=letter.metadata,
        oversight_mode=admission.mode,
        gated=admission.gated,
        send_at=letter.send_at,
        gate_timing=timing if letter.send_at else "",
    )


def _place_of(parent: Parent | None) -> dict[str, str]:
    """Return where the email stands: in a thread of its own, or behind the one that it answers."""
    if parent is None:
        return {"thread_id": ulid()}
    return {"thread_id": parent.thread_id, "in_reply_to": parent.message_id, "references": parent.references}


def _made_before(key: ApiKey, mailbox: Mailbox, letter: Letter) -> Accepted | None:
    """Return what a request of the same key made, once that has ended; two at once meet in _remember."""
    slot = _slot(Email(mailbox=mailbox, sandbox=key.sandbox), letter, "")
    record = IdempotencyRecord.objects.live().select_related("email").filter(**slot).first()
    if record is None:
        return None
    return Accepted(record.email, repeated=True, mismatch=record.digest != letter.digest())


def _slot(email: Email, letter: Letter, digest: str) -> dict[str, Any]:
    """Return what a second request for the same email would have in common with this one."""
    operation = IdempotencyRecord.Operation.CONTENT
    if letter.idempotency_key:
        operation = IdempotencyRecord.Operation.REPLY if letter.parent else IdempotencyRecord.Operation.SEND
    return {
        "mailbox_id": email.mailbox_id,
        "sandbox": email.sandbox,
        "operation": operation,
        "key": letter.idempotency_key or digest,
    }


def _remember(email: Email, letter: Letter, digest: str) -> bool:
    lasts = KEY_WINDOW if letter.idempotency_key else CONTENT_WINDOW
    slot = _slot(email, letter, digest)
    return IdempotencyRecord.objects.remember(**slot, email_id=email.pk, digest=digest, lasts=lasts)


def _earlier(email: Email, letter: Letter, digest: str) -> Accepted:
    record = IdempotencyRecord.objects.select_related("email").get(**_slot(email, letter, digest))
    if not letter.idempotency_key:
        raise Conflict(
            "The same message was sent less than a minute ago. It is not sent twice; to repeat it on purpose, wait a "
            "minute or give each message its own idempotency_key.",
            code="duplicate_content",
            email_id=record.email_id,
            status=record.email.status,
        )
    return Accepted(record.email, repeated=True, mismatch=record.digest != digest)
