"""Makes an email of what an agent wants sent, decides whether it is accepted and whether
it waits for a person, stores it at the gate or in the outbox, and changes it while it is
scheduled.

What is approved is what is sent, at the time for which it was approved: so only the time
of an approved message can be changed, and then it is held again.

Everything that can refuse an email because of its sender or recipients is checked here,
in a fixed order: the mailbox's restriction, its oversight mode, suppressed addresses,
the time, and last the bypass. The lists are checked again when a message is approved
and when it is sent, because they and the mailbox may have changed.
"""

import hashlib
import re
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.cache import caches
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from common.fingerprint import canonical_json
from common.identifiers import ulid
from common.logs import trace_id
from common.mail_addresses import clean_addresses, domain_of
from common.smtp import Server, takes_utf8
from common.unique_keys import Json
from gateway import auditing, limits, tasks
from gateway.allowlists import Ruling, judge, record_refusal
from gateway.attachments import File
from gateway.errors import Conflict, Forbidden, Invalid
from gateway.messages.content import additions_of
from gateway.models import (
    ApiKey,
    Attachment,
    Email,
    IdempotencyRecord,
    Mailbox,
    Suppression,
)
from gateway.parsed import simplified
from gateway.states import (
    Change,
    Direction,
    GateTiming,
    Mode,
    Status,
    is_gated,
    next_state,
)
from gateway.text import one_plain_line
from gateway.webhooks import events

# How many addresses a sentence names, and how many an audit entry names.
_NAMED = 3
_RECORDED = 50
# In these modes a bypass has no effect.
_NEVER_SKIPPED = (Mode.READ_ONLY, Mode.GATED_ALL)
_ONE_RECIPIENT = (
    "A message of a commercial mailbox has exactly one recipient, because its link unsubscribes one. Send each "
    "recipient a message."
)
# The recipients by field: to, cc, bcc, and the mailbox's auto_cc and auto_bcc.
Recipients = dict[str, list[str]]


@dataclass(frozen=True)
class Admission:
    """How an email is accepted: its oversight mode, whether it waits for a person
    (`gated`), whether a bypass may let it skip that, and what the lists say.
    """

    mode: Mode
    gated: bool
    may_skip: bool
    ruling: Ruling

    @property
    def unlisted(self) -> tuple[str, ...]:
        """The recipients because of whom the email waits: a bypass in force does not
        name them.
        """
        return self.ruling.unlisted if self.may_skip else ()


def admit(key: ApiKey, email: Email, *, asked: Mode | None) -> Admission:
    """Check an outgoing email, and return how it is accepted. `asked` is the oversight
    mode that the call asks for. Raises Forbidden or Invalid.

    Must not be called inside a transaction: a refusal is stored in a transaction of its
    own.
    """
    mailbox = email.mailbox
    recipients = email.addressees()
    everyone = _with_copies(email, mailbox.auto_cc, mailbox.auto_bcc)
    ruling = judge(mailbox, _addresses(everyone))
    refuse = partial(record_refusal, key=key, mailbox=mailbox, metadata=email.metadata)
    if outsiders := ruling.outsiders:
        refusal = refuse(
            recipients=_addresses(everyone), refused=outsiders, rule=ruling.rule
        )
        raise Forbidden(
            f"{_sentence(everyone, outsiders)} Nothing was queued.",
            code="recipient_not_allowed",
            field=_field_of(everyone, outsiders[0]),
            hint="Remove the recipient, or ask an operator to allow it.",
            recipients=list(outsiders),
            refusal_id=refusal.pk,
        )
    mode = mailbox.mode_for(asked)
    if mode is Mode.READ_ONLY:
        sentence = "This call asks for oversight_mode read_only, in which nothing can be sent. Leave the field out."
        if mailbox.oversight_mode == Mode.READ_ONLY:
            sentence = (
                "This mailbox is read_only: nothing can be sent from it. "
                f"POST /v1/mailboxes/{mailbox.address}/request-upgrade asks its operator for another mode."
            )
        raise Forbidden(sentence, code="read_only")
    if mailbox.commercial and len(recipients) != 1:
        raise Invalid(_ONE_RECIPIENT, field="to", code="one_recipient_only")
    suppressed: dict[str, str] = {}
    if not key.sandbox:
        suppressed = Suppression.objects.among(recipients, mailbox.account_id)
    unsubscribed = tuple(
        address
        for address, reason in suppressed.items()
        if reason == Suppression.Reason.UNSUBSCRIBED
    )
    if unsubscribed:
        refusal = refuse(
            recipients=recipients, refused=unsubscribed, rule="unsubscribed"
        )
        raise Forbidden(
            f"{_named(unsubscribed)} unsubscribed from this account's mail. Nothing was queued.",
            code="recipient_unsubscribed",
            field=_field_of(everyone, unsubscribed[0]),
            hint="Remove the recipient. Only an admin key can take it off the suppression list.",
            recipients=list(unsubscribed),
            refusal_id=refusal.pk,
        )
    if suppressed:
        first = next(address for address in recipients if address in suppressed)
        field = _field_of(everyone, first)
        raise Invalid(
            f"{field}: {first} is suppressed, because mail to it bounced or was marked as spam.",
            code="recipient_suppressed",
            hint="Remove the recipient, or remove it from the suppression list with an admin key.",
            recipients=sorted(suppressed),
        )
    _check_utf8(key, {"reply_to": [email.reply_to], **everyone})
    check_time(mailbox, email.send_at)
    holds_all = mailbox.account.hold_all_at is not None
    gated = is_gated(mode) or holds_all
    # A call that asks for gated_send is always gated, and nothing skips the gate under
    # hold_all.
    may_skip = mode is Mode.GATED_SEND and asked is None and not holds_all
    if may_skip and ruling.skips:
        gated = False
    return Admission(mode, gated, may_skip, ruling)


def _check_utf8(key: ApiKey, addresses: Recipients) -> None:
    # Refuses addresses that the mail server cannot write to. It is asked every five
    # minutes at most.
    beyond_ascii = [one for one in _addresses(addresses) if not one.isascii()]
    if not beyond_ascii or key.sandbox or not settings.EMAIL_URL:
        return
    server = Server.from_url(settings.EMAIL_URL)
    if not caches["process"].get_or_set("takes-utf8", partial(takes_utf8, server), 300):
        field = _field_of(addresses, beyond_ascii[0])
        raise Invalid(
            f"{field}: the mail server cannot deliver to {_named(tuple(beyond_ascii))}: it does not offer SMTPUTF8, "
            "which letters beyond ASCII before the @ need.",
            code="address_not_deliverable",
            recipients=beyond_ascii,
        )


def recheck(email: Email) -> tuple[str, bool]:
    """Check an accepted email again, by the lists and the mailbox as they are now.
    Returns why it may not go to all its recipients any more (empty if it may), and
    whether a person has to approve it after all.

    The copy of monitored mail is not checked: it goes to the account's own overseer.
    """
    additions = additions_of(email)
    everyone = _with_copies(
        email, additions.get("auto_cc", ""), additions.get("auto_bcc", "")
    )
    mailbox = email.mailbox
    ruling = judge(mailbox, _addresses(everyone))
    if ruling.outsiders:
        return _sentence(everyone, ruling.outsiders), False
    if "unsubscribe" in additions and len(_addresses(everyone)) != 1:
        return _ONE_RECIPIENT, False
    if email.gated or (ruling.skips and mailbox.oversight_mode not in _NEVER_SKIPPED):
        return "", False
    # The mailbox may have become stricter, calls may not loosen it any more, or its
    # bypass has ended.
    mode = mailbox.mode_for(Mode(email.oversight_mode))
    return "", is_gated(mode) or mode is Mode.READ_ONLY


def _with_copies(email: Email, auto_cc: str, auto_bcc: str) -> Recipients:
    # Returns the email's recipients together with the mailbox's automatic copies.
    return {
        "to": email.to,
        "cc": email.cc,
        "bcc": email.bcc,
        "auto_cc": clean_addresses(auto_cc),
        "auto_bcc": clean_addresses(auto_bcc),
    }


def _addresses(recipients: Recipients) -> list[str]:
    return list(dict.fromkeys(chain(*recipients.values())))


def note_admission(admission: Admission, email: Email, key: ApiKey) -> None:
    """Record what the lists did, or would have done in the mode enforce; in the
    transaction that stores the email.
    """
    ruling = admission.ruling
    if strangers := ruling.strangers:
        auditing.record(
            "email.would_be_refused",
            email,
            key,
            rule=ruling.rule,
            recipients=list(strangers[:_RECORDED]),
            count=len(strangers),
        )
    if admission.may_skip and (ruling.skips or ruling.would_skip):
        action = "email.bypassed" if ruling.skips else "email.would_bypass"
        auditing.record(action, email, key, rule=ruling.bypass_rule)


def check_time(mailbox: Mailbox, send_at: datetime | None) -> None:
    """Check that mail of `mailbox` may be scheduled for `send_at`. Raises Forbidden or
    Invalid.
    """
    if not send_at:
        return
    if not mailbox.scheduling_enabled:
        raise Forbidden(
            "Scheduling is switched off for this mailbox.", code="scheduling_disabled"
        )
    if send_at <= timezone.now():
        raise Invalid("send_at: is in the past.")


def _sentence(everyone: Recipients, outsiders: tuple[str, ...]) -> str:
    # Returns why the message is refused because of `outsiders`.
    sentence = f"This mailbox may not write to {_named(outsiders)}: not on its list of allowed recipients."
    if _field_of(everyone, outsiders[0]).startswith("auto_"):
        sentence += " The mailbox adds it automatically."
    return sentence


def _named(addresses: tuple[str, ...]) -> str:
    # Returns the first addresses, and how many more there are.
    named = ", ".join(addresses[:_NAMED])
    more = len(addresses) - _NAMED
    return f"{named} and {more} more" if more > 0 else named


def _field_of(recipients: Recipients, address: str) -> str:
    return next(
        field for field, addresses in recipients.items() if address in addresses
    )


# How long a repeated idempotency key is recognised; without one, the same content.
KEY_WINDOW = timedelta(hours=24)
CONTENT_WINDOW = timedelta(seconds=60)


@dataclass(frozen=True)
class SubmissionResult:
    """The stored email. `repeated`: an earlier request with the same idempotency key
    made it; `mismatch`: that request had other content.

    `unlisted` are the recipients because of whom it waits: the mailbox's bypass does
    not name them.
    """

    email: Email
    repeated: bool = False
    mismatch: bool = False
    unlisted: tuple[str, ...] = ()


def accept_email(
    key: ApiKey,
    email: Email,
    *,
    files: tuple[File, ...],
    asked: Mode | None,
    idempotency_key: str,
    is_reply: bool,
) -> SubmissionResult:
    """Store one message, held at the gate or in the outbox, or find the email that an
    earlier request with the same key made. `asked` is the oversight mode that the call
    asks for.

    Raises Forbidden, Invalid, TooManyRequests, or Conflict for the same content without
    a key within a minute; then nothing is stored.
    """
    digest = content_digest(email, files)
    window = CONTENT_WINDOW
    operation = IdempotencyRecord.Operation.CONTENT
    if idempotency_key:
        window = KEY_WINDOW
        operation = IdempotencyRecord.Operation.SEND
        if is_reply:
            operation = IdempotencyRecord.Operation.REPLY
    slot = {
        "mailbox_id": email.mailbox_id,
        "sandbox": key.sandbox,
        "operation": operation,
        "key": idempotency_key or digest,
    }
    records = IdempotencyRecord.objects
    # A repeated key is answered first, whatever the lists, the mode or the quota are
    # now.
    live = records.filter(**slot, expires_at__gt=Now())
    if idempotency_key and (earlier := live.first()):
        return _repeated(earlier, digest)
    admission = admit(key, email, asked=asked)
    email.oversight_mode = admission.mode
    email.gated = admission.gated

    def store() -> None:
        # Checked after the idempotency key, so that a repeated key is answered although
        # the quota is used up.
        limits.check_quota(key.account, sandbox=key.sandbox, now=email.created_at)
        # There is no scanner yet: this is where its verdict will be asked for.
        change = _next_change(email)
        email.status = next_state(email.status, change)
        if change == Change.RELEASE:
            email.due_at = email.send_at or Now()
        email.save(force_insert=True)
        auditing.record(
            "email.submitted", email, key, oversight_mode=email.oversight_mode
        )
        note_admission(admission, email, key)
        Attachment.objects.attach(email, files)
        _announce(email)

    record = {"email_id": email.pk, "digest": digest, "expires_at": Now() + window}
    try:
        with transaction.atomic():
            # Stored before the email, to which its foreign key is deferred. A second
            # request with the same key waits here until the first has ended, and then
            # has stored nothing.
            records.create(**slot, **record)
            store()
    except IntegrityError:
        with transaction.atomic():
            if not records.filter(**slot, expires_at__lte=Now()).update(**record):
                return _repeated(records.get(**slot), digest)
            store()
    return SubmissionResult(email, unlisted=admission.unlisted)


def _repeated(earlier: IdempotencyRecord, digest: str) -> SubmissionResult:
    if earlier.operation != IdempotencyRecord.Operation.CONTENT:
        return SubmissionResult(
            earlier.email, repeated=True, mismatch=earlier.digest != digest
        )
    raise Conflict(
        "The same message was sent less than a minute ago, so it is not sent again. To repeat it on purpose, "
        "wait a minute or use a different idempotency_key.",
        code="duplicate_content",
        email_id=earlier.email_id,
        status=earlier.email.status,
    )


def simplify(email: Email) -> None:
    """Give an email the simple form of its HTML, and its text where it has none. Raises
    Invalid.
    """
    if email.html is not None:
        # Designed mail is simplified too: for its text, and to refuse what the desk
        # could not show.
        form = simplified(email.html)
        email.markdown = email.markdown or form.text
        if not email.mailbox.send_as_designed:
            email.original_html = email.html if form.changes else None
            email.html = form.html
            email.simplified = form.changes
    elif "<" in email.markdown:
        form = simplified(email.markdown, job="simplify_markdown")
        # Its tags would be seen in the text part, too, with what they hide.
        if form.html:
            email.original_html = email.markdown
            email.html = form.html
            email.markdown = form.text
            email.simplified = form.changes


def _next_change(email: Email) -> Change:
    # Whether the email waits at the gate now, or goes to the outbox.
    waits_for_time = email.send_at and email.gate_timing == GateTiming.SCHEDULE_FIRST
    return Change.HOLD if email.gated and not waits_for_time else Change.RELEASE


def _announce(email: Email) -> None:
    # Tells the subscribers of a held email, and a worker of one that is due.
    if email.status == Status.PENDING_SEND_APPROVAL:
        events.announce(email, events.PENDING)
    elif not email.send_at:
        tasks.send_email.delay_on_commit(email.pk)


@transaction.atomic
def request_approval(email: Email) -> bool:
    """Hold a scheduled email at the gate, because it is due and nobody has decided yet.

    Under `hold_all` this includes ungated mail, which needs an approval from then on.
    """
    # To ask was no attempt to send: an approval makes the email newly due.
    is_held = Email.objects.move(
        email, Change.HOLD, gated=True, due_at=None, lease_until=None, attempts=0
    )
    if is_held:
        _announce(email)
    return is_held


def edit_scheduled(
    key: ApiKey, email: Email, send_at: datetime | None, content: Json
) -> None:
    """Change the time of a scheduled message, or fields of its content.

    It is checked and scanned like a new message, and may then wait at the gate; an
    approved one does, because it was approved for its time. Raises Conflict if the
    message is not scheduled or was changed at the same moment, and whatever `admit`
    raises; then nothing is changed.
    """
    if email.status != Status.SCHEDULED:
        raise email.conflict(
            f"Only a scheduled message can be changed: this one is {email.status}.",
            code="not_scheduled",
        )
    if not email.send_at or email.send_at <= timezone.now():
        raise email.conflict("This message is being sent.", code="not_scheduled")
    fields = {
        name: value for name, value in content.items() if getattr(email, name) != value
    }
    if fields and email.decision:
        raise email.conflict(
            "This message is approved, so its content and recipients cannot change. Only its time can be changed; to "
            "send something else, cancel it and send a new message.",
            code="already_approved",
        )
    if fields and email.sent_by_key_id != key.pk:
        # Rules, passes and the owner of a key go by the key that wrote the words.
        raise Forbidden(
            "Only the API key that wrote a message can change it. Cancel it and send a new one.",
            code="not_your_message",
        )
    if send_at not in (None, email.send_at):
        check_time(email.mailbox, send_at)
        fields["send_at"] = send_at
    if not fields:
        return
    is_moved = fields.keys() == {"send_at"}
    # Ungated mail in this mode has skipped the gate by a bypass, and may do so again.
    bypassed = not email.gated and email.oversight_mode == Mode.GATED_SEND
    changed = copy(email)
    for name, value in fields.items():
        setattr(changed, name, value)
    if "markdown" in fields:
        # The HTML would still hold the old text.
        changed.html = changed.original_html = None
        changed.simplified = []
        simplify(changed)
    admission = admit(
        key, changed, asked=None if bypassed else Mode(email.oversight_mode)
    )
    # A message that had to wait for a person stays gated after a change.
    changed.gated = email.gated or admission.gated
    change = _next_change(changed)
    stored = {
        "oversight_mode": admission.mode,
        "gated": changed.gated,
        "due_at": changed.send_at if change == Change.RELEASE else None,
        "markdown": changed.markdown,
        "html": changed.html,
        "original_html": changed.original_html,
        "simplified": changed.simplified,
        "decision": "",
        "decided_at": None,
        # As before an approval, they follow the mailbox.
        "additions": None,
    }
    with transaction.atomic():
        if not Email.objects.editable_as(email).move(email, change, **fields | stored):
            email.refresh_from_db()
            raise email.conflict(
                "This message was changed or sent at the same time. Read it again before you retry.",
                code="changed_meanwhile",
            )
        action = "email.rescheduled" if is_moved else "email.edited"
        auditing.record(action, email, key, fields=sorted(fields))
        note_admission(admission, email, key)
        _announce(email)


# A folded or encoded id would not match.
_MESSAGE_ID = re.compile(r"<(?![^<>]*=\?)[!-;=?-~]{1,298}>", re.ASCII)
MAX_REFERENCES = 20
# As in the recipients of a request.
MAX_REPLY_TO = 50
_MOST_SUBJECT = 998
# The prefix of a reply in the languages of mail programs, also in the form Re[2]:, and
# repeated.
_PREFIX = (
    rf"(?:{'|'.join(Path(__file__).with_name('reply_prefixes.txt').read_text().split())})"
    r"\s*+(?:[\[(]?\d{1,4}[\])]?\s*+)?[:：]\s*+"
)
_ANSWER = re.compile(
    rf"\A(\s*+(?:\[[^\[\]]{{1,60}}\]\s*+)?{_PREFIX})(?:{_PREFIX})*+", re.IGNORECASE
)


def content_digest(email: Email, files: tuple[File, ...]) -> str:
    """Return a hash by which a message that is sent twice is recognised.

    It leaves out `agent_identity`: a client that tries again may sign a new one for the
    same message.
    """
    parts = [
        sorted(email.to),
        sorted(email.cc),
        sorted(email.bcc),
        email.subject,
        email.reply_to,
        email.in_reply_to,
        [email.markdown, email.original_html or email.html],
        sorted(file.sha256 + file.content_id for file in files),
    ]
    return hashlib.sha256(canonical_json(parts)).hexdigest()


def new_email(key: ApiKey, mailbox: Mailbox, **content: Any) -> Email:
    """Return a new email with this content, not stored. It begins a thread unless
    `content` names one.
    """
    pk = ulid()
    content.setdefault("thread_id", ulid())
    return Email(
        id=pk,
        account=key.account,
        mailbox=mailbox,
        direction=Direction.OUTBOUND,
        status=Status.PENDING_SCAN,
        sandbox=key.sandbox,
        sent_by_key=key,
        created_at=timezone.now(),
        trace=trace_id.get(),
        from_address=mailbox.address,
        # Copied, because the recipient sees the name: a later change of the mailbox
        # must not change held mail.
        from_name=mailbox.display_name,
        message_id_header=f"<{pk.lower()}@{domain_of(mailbox.address)}>",
        **content,
    )


def reply_fields(parent: Email, named: list[str]) -> Json:
    """Return the fields of a reply to `parent`: its recipients, its subject, and what
    puts it into the thread. Raises Invalid if there is nobody to reply to.

    A reply goes to the author of received mail, or to the recipients of our own mail;
    if that is nobody, or too many, to whom the request has `named`.
    References keep the first message of the thread and the latest ones. In-Reply-To and
    References are left out if the message id of `parent` is unusable.
    """
    addresses: list[str] = []
    if parent.direction == Direction.INBOUND:
        addresses = parent.authors()
    else:
        with suppress(ValueError):
            addresses = clean_addresses(parent.to)
    if not 1 <= len(addresses) <= MAX_REPLY_TO:
        addresses = named
    if not addresses:
        raise Invalid(
            f"The message has no address to reply to, or more than {MAX_REPLY_TO}. Give one as `to`.",
            field="to",
            code="no_reply_address",
        )
    subject, answers = _ANSWER.subn(r"\1", one_plain_line(parent.subject))
    if not answers:
        subject = f"Re: {subject}"
    fields = {
        "to": addresses,
        "subject": subject[:_MOST_SUBJECT].rstrip(),
        "thread_id": parent.thread_id,
    }
    if parent_id := _MESSAGE_ID.fullmatch(parent.message_id_header.strip()):
        earlier = _MESSAGE_ID.findall(parent.references or parent.in_reply_to)
        references = list(dict.fromkeys([*earlier, parent_id[0]]))
        if len(references) > MAX_REFERENCES:
            references = references[:1] + references[1 - MAX_REFERENCES :]
        fields |= {"in_reply_to": parent_id[0], "references": " ".join(references)}
    return fields
