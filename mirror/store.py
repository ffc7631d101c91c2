"""Writes the mirror: rows and events of MultiMail become messages, revisions, and rows
of what is still to be fetched.

Decisions are stored elsewhere. An event only fills unknown fields and overwrites
nothing: webhooks arrive in any order with different fields missing, and the result must
not depend on the order. Fields from a read are never changed.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from django.core.cache import caches
from django.db import transaction
from django.db.models import Model
from django.db.models.functions import Now
from django.dispatch import Signal

from common.actors import Actor
from common.fingerprint import (
    FIELDS,
    Attachment,
    Content,
    content_from_json,
    fingerprint,
    within,
)
from common.logs import trace_id
from common.postgres import clock, take_lock
from common.words import MAX_TEXT
from mirror import tasks
from mirror.models import AttachedFile, Connection, Mailbox, Message, Revision, Thread
from mirror.recipients import addresses_of
from mirror.recording import details_of_content, record_about
from mirror.states import (
    MESSAGE_TRANSITIONS,
    START,
    MessageEvent,
    next_message_state,
)
from rendering import (
    ParsedContent,
    RenderedMessage,
    parse_content,
    render_message,
    unparsed_content,
)
from rendering.result import NOT_SAFE
from rendering.source_view import render_source
from risk.findings import Finding
from upstream.events import Event, direction_of, read_time

# How many files of a message are fetched; the page only names the others.
MAX_FILES = 50


class Examiner(Protocol):
    """The review desk's examination of a content being stored; the mirror knows neither
    policy nor decisions.
    """

    def version_before(self, message: Message) -> Message | None:
        """Return the message whose request for changes this one answers; None where
        there is none.
        """

    def findings(
        self,
        message: Message,
        content: Content,
        parsed: ParsedContent,
        *,
        may_have_left: bool,
    ) -> list[dict[str, Any]]:
        """Return what is risky about the content, worst first, as it is stored with the
        revision.
        """

    def columns_of(
        self,
        message: Message,
        content: Content,
        parsed: ParsedContent,
        findings: Iterable[Mapping[str, Any]],
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the columns of a message, and those of its review, that follow from
        its content and its findings.
        """

    def store_review(
        self, message: Message, columns: Mapping[str, Any], *, is_new_version: bool
    ) -> None:
        """Store what the desk makes of a locked message."""

    def count(self, message: Message, actor: Actor) -> None:
        """Count a message that was read for the first time and waits; past a cap it is
        set apart.
        """


# Sent in the transaction in which a version gets one more finding, with the locked
# `message` and its `revision`.
finding_added = Signal()


def expect_parts(message: Message, content: Content) -> None:
    """Store rows of what belongs to the current version of a locked message, and wake a
    worker after the commit.
    """
    files = [
        AttachedFile(
            message=message,
            revision=message.revision,
            place=number,
            name=attachment.name,
            content_type=attachment.content_type,
            size=max(0, min(attachment.size, 2**62)),
            sha256=attachment.sha256[:64],
        )
        for number, attachment in enumerate(content.attachments[:MAX_FILES], start=1)
    ]
    for file in AttachedFile.objects.bulk_create(files):
        tasks.fetch_file.delay_on_commit(file.pk)
    # A draft that is no reply begins its thread, which is not read until somebody opens
    # it.
    if message.thread_id and (
        content.in_reply_to or "in_reply_to" not in content.coverage
    ):
        expect_thread(message)


def expect_thread(message: Message) -> Thread | None:
    """Return the row of the message's thread, made on first sight; None where it has
    none.
    """
    if not message.thread_id or message.mailbox_id is None:
        return None
    thread, is_new = Thread.objects.get_or_create(
        mailbox_id=message.mailbox_id, upstream_id=message.thread_id
    )
    if is_new:
        tasks.read_thread.delay_on_commit(thread.pk)
    return thread


# The fields of a pending row by the name that a fingerprint gives them; a row without
# one does not cover it.
_SOURCES: Mapping[str, tuple[str, ...]] = {
    "from": ("from", "from_address"),
    "from_name": ("from_name",),
    "reply_to": ("reply_to",),
    "to": ("to_addresses", "to"),
    "cc": ("cc",),
    "bcc": ("bcc",),
    "subject": ("subject",),
    "markdown": ("markdown", "body_markdown", "text_body", "body", "text"),
    "html": ("html_body",),
    "in_reply_to": ("in_reply_to",),
    "attachments": ("attachments",),
    "additions": ("additions",),
    "send_at": ("send_at",),
}

# Where a field of a fingerprint has another name in Content.
_ATTRIBUTES: Mapping[str, str] = {"from": "sender", "from_name": "sender_name"}


def fitting(column: str, value: Any, model: type[Model] = Message) -> str:
    """Return `value` as text that fits this column of a message, or of another model;
    the revision stores it in full.
    """
    return str(value or "")[
        : getattr(model._meta.get_field(column), "max_length", None)
    ]


def find_mailbox(
    connection: Connection, *, upstream_id: str, address: str = ""
) -> Mailbox | None:
    """Return the mailbox with this upstream id, made on first sight; None when the id
    is not known.
    """
    if not upstream_id:
        return connection.mailboxes.filter(address=address).first() if address else None
    mailbox, _ = Mailbox.objects.get_or_create(
        connection=connection,
        upstream_id=upstream_id,
        defaults={"address": address[:320]},
    )
    if address and not mailbox.address:
        mailbox.address = address[:320]
        mailbox.save(update_fields=["address"])
    return mailbox


def lock_message(connection: Connection, *, upstream_id: str) -> Message | None:
    """Return the message under a lock, for the rest of the transaction; None where it
    is not known yet.

    The lock of its id also covers a message that two webhooks would begin at once.
    """
    lock_upstream_id(connection, upstream_id)
    return locked_message(connection, upstream_id)


def lock_current(message: Message) -> Message | None:
    """Return a message as it is now, under a lock as by `lock_message`; None where it
    was deleted.
    """
    return lock_message(message.connection, upstream_id=message.upstream_id)


def lock_upstream_id(connection: Connection, upstream_id: str) -> datetime:
    """Lock the id of a message, known or not, for the rest of the transaction; return
    the time by the database then.
    """
    return take_lock(f"message {connection.pk} {upstream_id}")


def locked_message(connection: Connection, upstream_id: str) -> Message | None:
    """Return the message whose id is locked, with a lock of its row; None where it is
    not known yet.
    """
    rows = Message.objects.known_as(connection=connection.pk, upstream_id=upstream_id)
    # Most webhooks tell of a message that is new; asking for all its columns would take
    # most of their time.
    if not rows.defer(None).exists():
        return None
    # no_key: inserts of rows that refer to the message (cards, attempts) neither wait
    # nor deadlock.
    locked = rows.select_for_update(of=("self",), no_key=True)
    return locked.select_related("connection", "revision", "mailbox").get()


def move(message: Message, *, event: str, now: datetime, status: str = "") -> bool:
    """Apply a reported event to a locked message; False when it comes too late to
    change anything.
    """
    state = next_message_state(message.state, event)
    if state is None:
        return False
    message.state = state
    message.changed_at = now
    if status:
        message.upstream_status = fitting("upstream_status", status)
    message.save(update_fields=["state", "changed_at", "upstream_status"])
    return True


def create_message(
    connection: Connection,
    *,
    upstream_id: str,
    event: str,
    now: datetime,
    **fields: Any,
) -> Message:
    """Make the mirror of a message that is not known yet. Raises KeyError for an event
    that cannot begin one.
    """
    message: Message = Message.objects.create(
        connection=connection,
        upstream_id=upstream_id,
        state=MESSAGE_TRANSITIONS[START, event],
        changed_at=now,
        **{"held_at": now, **fields},
    )
    return message


def content_of(row: Mapping[str, Any]) -> Content:
    """Parse a pending row into the content to fingerprint, with this row's coverage."""
    values = {
        name: next((row[key] for key in keys if row.get(key) is not None), None)
        for name, keys in _SOURCES.items()
    }
    coverage = tuple(
        name for name in FIELDS if any(key in row for key in _SOURCES[name])
    )
    additions = values["additions"] if isinstance(values["additions"], dict) else {}
    attachments = []
    for item in _listed(values["attachments"]):
        if not isinstance(item, dict):
            attachments.append(Attachment(name=str(item), content_type="", size=0))
            continue
        size = item.get("size") or item.get("size_bytes")
        attachments.append(
            Attachment(
                name=str(item.get("name") or item.get("filename") or ""),
                content_type=str(item.get("content_type") or ""),
                size=size if isinstance(size, int) else 0,
                sha256=str(item.get("sha256") or ""),
            )
        )
    return Content(
        sender=str(values["from"] or ""),
        sender_name=str(values["from_name"] or ""),
        reply_to=_text(values["reply_to"]) or None,
        to=_addresses(values["to"]),
        cc=_addresses(values["cc"]),
        bcc=_addresses(values["bcc"]),
        subject=str(values["subject"] or ""),
        markdown=_text(values["markdown"]),
        html=_text(values["html"]),
        in_reply_to=_text(values["in_reply_to"]),
        attachments=tuple(attachments),
        additions={str(name): str(text) for name, text in additions.items() if text},
        send_at=_text(values["send_at"]),
        coverage=coverage,
    )


def stored_content(revision: Revision) -> Content:
    """Return a revision's content as it was read."""
    return content_from_json({**revision.content, "coverage": revision.coverage})


def rendered_content(
    revision: Revision, content: Content | None = None
) -> RenderedMessage:
    """Return a revision's content, or a part of it, as its recipient gets it. Raises
    ParserUnavailable.
    """
    content = content or stored_content(revision)
    if revision.is_unsafe:
        return render_source(content, NOT_SAFE)
    return render_message(content)


def changed_content(revision: Revision, content: Content) -> Content | None:
    """Return the content that a new revision should have; None where `content` neither
    changes nor adds anything.

    Contents are compared in what both sources gave: one that gives less than the stored
    one, and says the same, is no change, and two sources that each give something of
    their own are put together.
    """
    if revision.fingerprint == fingerprint(content):
        return None
    stored = stored_content(revision)
    shared = [name for name in content.coverage if name in stored.coverage]
    if fingerprint(within(stored, shared)) != fingerprint(within(content, shared)):
        return content
    if len(shared) == len(content.coverage):
        return None
    unshared = {
        _ATTRIBUTES.get(name, name) for name in stored.coverage if name not in shared
    }
    both = tuple(
        name for name in FIELDS if name in stored.coverage or name in content.coverage
    )
    return replace(
        content, coverage=both, **{name: getattr(stored, name) for name in unshared}
    )


def parsed_content(message: Message, content: Content) -> ParsedContent:
    """Return a content of the message as the parser reads it. Raises ParserUnavailable.

    A version that the parser was killed over is not given to it again.
    """
    known = message.revision
    if known and known.is_unsafe and known.fingerprint == fingerprint(content):
        return unparsed_content(content)
    return parse_content(content)


def store_revision(
    message: Message,
    *,
    row: Mapping[str, Any],
    actor: Actor,
    now: datetime,
    examiner: Examiner,
    parsed: ParsedContent | None = None,
) -> Revision:
    """Store what a pending row has of a locked message; a new revision only where the
    content changed.

    `parsed` is the row's content as the parser read it before the transaction.
    """
    current = message.revision
    content = content_of(row)
    new = content if current is None else changed_content(current, content)
    shown = new or (stored_content(current) if current else content)
    if parsed is None or shown != content:
        # Rare: what two sources give in part was put together.
        parsed = parsed_content(message, shown)
    message.subject, message.recipients = shown.subject, list(shown.to)
    message.sender = fitting("sender", shown.sender)
    _copy_row(message, row)
    is_new = message.hydrated_at is None and not message.is_local
    if is_new and (before := examiner.version_before(message)):
        message.answers = before
        message.try_number = before.try_number + 1
    is_new_version = current is None or new is not None
    if current is None or new is not None:
        # Only here is known what kind of message it is, and it is compared with
        # messages of that kind alone. Our gateway holds a message of unknown fate after
        # a restore: the backup may be older than its approval.
        has_doubt = bool(row.get("fate_unknown"))
        stored = asdict(shown)
        current = Revision.objects.create(
            message=message,
            number=current.number + 1 if current else 1,
            coverage=stored.pop("coverage"),
            content=stored,
            fingerprint=fingerprint(shown),
            findings=examiner.findings(message, shown, parsed, may_have_left=has_doubt),
            html_text=parsed.words[:MAX_TEXT],
            is_unsafe=parsed.is_unsafe,
            simplified=min(int(row.get("simplified") or 0), 1000),
        )
        record_about(
            "message.changed" if message.revision else "message.fetched",
            message,
            actor=actor,
            fingerprint=current.fingerprint,
            details=details_of_content(shown, number=current.number)
            | {"key": message.sent_by_key_name or message.sent_by_key},
        )
    message.revision = current
    is_first = message.hydrated_at is None
    message.hydrated_at = message.hydrated_at or now
    # By the database's clock, as the beginning of reads.
    message.seen_at = Now()
    columns, review = examiner.columns_of(message, shown, parsed, current.findings)
    for name, value in columns.items():
        setattr(message, name, value)
    message.save()
    examiner.store_review(message, review, is_new_version=is_new_version)
    is_counted = message.is_held and not message.is_inbound and not message.is_local
    if is_first and is_counted:
        examiner.count(message, actor)
    if new is not None:
        expect_parts(message, new)
    return current


@transaction.atomic
def add_finding(revision: Revision, found: Finding) -> None:
    """Store one more finding of a version; receivers of `finding_added` follow."""
    message = (
        Message.objects.select_for_update(of=("self",), no_key=True)
        .select_related("mailbox")
        .get(pk=revision.message_id)
    )
    stored = Revision.objects.get(pk=revision.pk)
    if asdict(found) in stored.findings:
        return
    stored.findings = [asdict(found), *stored.findings]
    stored.save(update_fields=["findings"])
    finding_added.send(sender=Revision, message=message, revision=stored)


def _copy_row(message: Message, row: Mapping[str, Any]) -> None:
    """Copy what a pending row has of a message besides its content."""
    metadata = row.get("metadata")
    message.trigger = metadata if isinstance(metadata, dict) else message.trigger
    message.sent_by_key = fitting("sent_by_key", row.get("sent_by_key"))
    message.sent_by_key_name = fitting("sent_by_key_name", row.get("sent_by_key_name"))
    message.thread_id = fitting("thread_id", row.get("thread_id"))
    message.upstream_status = (
        fitting("upstream_status", row.get("status")) or message.upstream_status
    )
    message.sandbox = bool(row.get("sandbox"))
    message.direction = direction_of(
        row.get("direction") or message.direction, row.get("status")
    )
    upstream_id = str(row.get("mailbox_id") or "")
    mailbox = message.mailbox
    # Mostly the webhook named it.
    if mailbox is None or not mailbox.address or mailbox.upstream_id != upstream_id:
        mailbox = find_mailbox(
            message.connection,
            upstream_id=upstream_id,
            address=str(row.get("mailbox") or ""),
        )
    message.mailbox = mailbox or message.mailbox
    if mailbox and mailbox.expire_after and message.expires_at is None:
        # Its expiry counts since when MultiMail says it is held, else from now. Never
        # by this host's clock alone, which may be wrong and must not expire a message
        # early. A message that waited for its time before it was held (schedule_first)
        # was received long before.
        at = clock()
        since = max(held_since(row, at), message.held_at)
        send_at = read_time(row.get("send_at"))
        if send_at and send_at <= at:
            since = max(since, send_at)
        message.expires_at = min(since, at) + mailbox.expire_after


def held_since(row: Mapping[str, Any], now: datetime) -> datetime:
    """Return since when a row is held, as far as MultiMail says; never in the future."""
    since = read_time(row.get("received_at") or row.get("created_at"))
    return min(since, now) if since else now


def _text(value: Any) -> str | None:
    """Return a value as text. Unexpected types are shown as written: omitting them
    could hide something.
    """
    return value if value is None or isinstance(value, str) else str(value)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _addresses(value: Any) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else _listed(value)
    return tuple(str(item).strip() for item in items if str(item).strip())


def begin_message(
    connection: Connection, event: Event, *, begins: str, now: datetime
) -> Message:
    """Make the mirror of a message from the first event about it; `begins` is how it
    counts.
    """
    return create_message(
        connection,
        upstream_id=event.email_id,
        event=begins,
        now=now,
        mailbox=_mailbox_of(connection, event),
        direction=event.direction,
        upstream_status=fitting("upstream_status", event.status),
        # Mail that is never held is not read; only the event names its recipients.
        addresses=addresses_of(
            event.to, sender=event.sender, direction=event.direction
        ),
        held_at=min(event.at, now) if event.at else now,
        trace=trace_id.get(),
        **_reported(event),
    )


def _mailbox_of(connection: Connection, event: Event) -> Mailbox | None:
    """Return the mailbox that an event names, as it was within the last second.

    Each process reads it once a second, by a clock that nobody sets: the read was a
    tenth of a webhook's processor time.
    """
    kept = caches["process"]
    # The id is any text that a webhook holds, which a key may not be.
    key = f"mailbox:{connection.pk}:{hash(event.mailbox_id)}:{int(time.monotonic())}"
    mailbox: Mailbox | None = kept.get(key)
    if (
        mailbox is None
        or mailbox.upstream_id != event.mailbox_id
        or not mailbox.address
    ):
        mailbox = find_mailbox(
            connection, upstream_id=event.mailbox_id, address=event.mailbox
        )
        # One that is made here exists only after the commit.
        transaction.on_commit(partial(kept.set, key, mailbox, 2))
    return mailbox


# How a message was decided, as events tell it.
_DECIDED = ("upstream_reason", "upstream_decided_by")


def _reported(event: Event) -> dict[str, Any]:
    """Return the fields of a message that an event tells and a later one may lack."""
    return {
        "thread_id": fitting("thread_id", event.thread_id),
        "trigger": dict(event.metadata),
        "sender": fitting("sender", event.sender),
        "recipients": list(event.to),
        "subject": event.subject,
        "sandbox": event.sandbox,
        "upstream_reason": event.reason,
        "upstream_decided_by": fitting("upstream_decided_by", event.decided_by),
    }


def fill_from_event(message: Message, event: Event) -> None:
    """Fill what a locked message lacks from one more event about it: once it was read,
    only how it was decided.
    """
    found: dict[str, Any] = {}
    is_decided = event.kind != MessageEvent.PENDING
    is_unread = message.hydrated_at is None
    for name, value in _reported(event).items():
        may_fill = is_decided if name in _DECIDED else is_unread
        if may_fill and value and not getattr(message, name):
            found[name] = value
    if message.mailbox_id is None:
        found["mailbox"] = find_mailbox(
            message.connection, upstream_id=event.mailbox_id, address=event.mailbox
        )
    if is_unread:
        if event.direction == "inbound":
            found["direction"] = "inbound"
        found["addresses"] = addresses_of(
            map(str, found.get("recipients", message.recipients)),
            sender=found.get("sender", message.sender),
            direction=found.get("direction", message.direction),
        )
        if event.at and event.at < message.held_at:
            found["held_at"] = event.at
    changed = [name for name in found if getattr(message, name) != found[name]]
    for name in changed:
        setattr(message, name, found[name])
    if changed:
        message.save(update_fields=changed)


def event_from_answer(answer: Mapping[str, Any]) -> Event:
    """Return MultiMail's answer about a message as an event, so that `fill_from_event`
    can use it.
    """
    content = content_of(answer)
    metadata = answer.get("metadata")
    return Event(
        kind="",
        name="",
        mailbox_id=str(answer.get("mailbox_id") or ""),
        mailbox=str(answer.get("mailbox") or ""),
        thread_id=str(answer.get("thread_id") or ""),
        sender=content.sender,
        to=content.to,
        subject=content.subject,
        direction=direction_of(answer.get("direction"), answer.get("status")),
        metadata=metadata if isinstance(metadata, dict) else {},
        sandbox=answer.get("sandbox") is True,
    )
