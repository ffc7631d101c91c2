"""Writes messages into the mirror. What MultiMail returns about a held message (a
pending row) becomes a message, a revision of its content, and rows of the files and the
thread to fetch. A webhook (an event) creates a message or fills its empty fields.

Webhooks arrive in any order, and each may lack other fields. The result must not depend
on the order, so an event never overwrites a field, and never changes what a read has
stored. Decisions are stored elsewhere.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from django.contrib.postgres.search import SearchVectorField
from django.db import transaction
from django.db.models import F, Func, Model, Value
from django.db.models.functions import Cast, Coalesce
from django.dispatch import Signal

from common.fingerprint import (
    FIELDS,
    Attachment,
    Content,
    content_from_json,
    fingerprint,
    within,
)
from common.logs import trace_id
from common.postgres import take_lock
from common.tables import table_rows
from common.unique_keys import text_in
from common.words import CONTENT, indexed, vector
from mirror import tasks
from mirror.models import AttachedFile, Connection, Mailbox, Message, Revision, Thread
from mirror.recipients import addresses_of
from mirror.states import MESSAGE_TRANSITIONS, START, MessageEvent, next_message_state
from parsing.client import from_source
from rendering import RenderedMessage, render_message
from rendering.result import NOT_SAFE
from rendering.source_view import render_source
from risk.examined import Examined, examine_content, unexamined
from risk.findings import Finding, restored
from upstream.events import Event, direction_of, mail_ids, read_time

# A message with so many aliases gets no more: its `search` has room for them.
MAX_ALIASES = 200
# How many files of a message are fetched. The page only names the others.
MAX_FILES = 50


# Sent when more became known of a version, a finding or what a file is, in the same
# transaction, with the locked `message` and the `revision`.
more_known = Signal()


def expect_parts(message: Message, content: Content) -> None:
    """Store rows for the files of the current version of a locked message, and for its
    thread, and enqueue the tasks that fetch them after the commit.
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
    # A message that is no reply begins a new thread, which is not read until somebody
    # opens the message.
    if message.thread_id and (
        content.in_reply_to or "in_reply_to" not in content.coverage
    ):
        expect_thread(message)


def expect_thread(message: Message) -> Thread | None:
    """Return the row of the message's thread, and create it if it is new; None if the
    message has no thread.
    """
    if not message.thread_id or not message.mailbox_id:
        return None
    thread, is_new = Thread.objects.get_or_create(
        mailbox_id=message.mailbox_id, upstream_id=message.thread_id
    )
    if is_new:
        tasks.read_thread.delay_on_commit(thread.pk)
    return thread


# By the name that a fingerprint gives to a field: the keys under which a pending row
# may have it. A row with none of the keys does not cover the field.
_SOURCES = {
    name: keys.split()
    for name, keys in table_rows("""
from        | from from_address
from_name   | from_name
reply_to    | reply_to
to          | to_addresses to
cc          | cc
bcc         | bcc
subject     | subject
markdown    | markdown body_markdown text_body body text
html        | html_body
in_reply_to | in_reply_to
attachments | attachments
additions   | additions
send_at     | send_at
""")
}

# The fields of a fingerprint that have another name in Content.
_ATTRIBUTES: Mapping[str, str] = {"from": "sender", "from_name": "sender_name"}


def fitting(column: str, value: Any, model: type[Model] = Message) -> str:
    """Return `value` as text, cut to the length of this column of a message, or of
    another model. The revision stores the whole value.
    """
    return str(value or "")[
        : getattr(model._meta.get_field(column), "max_length", None)
    ]


def find_mailbox(
    connection: Connection, *, upstream_id: str, address: str
) -> Mailbox | None:
    """Return the mailbox with this id at MultiMail, and create it if it is new. Without
    an id, look for the address; None if that is not known.
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
    """Return a message, locked for the rest of the transaction; None if the mirror does
    not have it.

    Its id is locked too, so that two webhooks at the same time cannot both create it.
    """
    lock_upstream_id(connection, upstream_id)
    return locked_message(connection, upstream_id)


def lock_current(message: Message) -> Message | None:
    """Return the present state of a message, locked as by `lock_message`; None if it
    was deleted.
    """
    return lock_message(message.connection, upstream_id=message.upstream_id)


def lock_upstream_id(connection: Connection, upstream_id: str) -> datetime:
    """Lock the id of a message for the rest of the transaction, whether the mirror has
    it or not; return the database's time after that.
    """
    return take_lock(f"message {connection.pk} {upstream_id}")


def locked_message(
    connection: Connection, upstream_id: str, *related: str
) -> Message | None:
    """Return the message whose id is already locked, with its row locked too, and these
    related rows loaded; None if the mirror does not have it.
    """
    rows = Message.objects.known_as(connection=connection.pk, upstream_id=upstream_id)
    # With no_key, rows that refer to the message (such as cards) can be inserted
    # meanwhile.
    locked = rows.select_for_update(of=("self",), no_key=True)
    return locked.select_related("connection", "revision", "mailbox", *related).first()


def move(message: Message, *, event: str, now: datetime, status: str = "") -> bool:
    """Apply a reported event to the state of a locked message; return False if it is
    too late to change anything.
    """
    state = next_message_state(message.state, event)
    if not state:
        return False
    message.state = state
    message.changed_at = now
    if message.is_held:
        message.decided_elsewhere_at = None
    if status:
        message.upstream_status = fitting("upstream_status", status)
    columns = "state changed_at decided_elsewhere_at upstream_status"
    message.save(update_fields=columns.split())
    return True


def _as_vector(*parts: tuple[str, Any]) -> Cast:
    return Cast(Value(vector(parts)), SearchVectorField())


def search_words(message: Message, content: Iterable[tuple[str, Any]] = ()) -> Cast:
    """Return the value of the column `search` for a message: by its names, and by the
    labelled words of its content, or what webhooks told as long as that is not read.
    """
    names = message.names if content else message.ledger_words()
    return _as_vector(*indexed(names), *content)


def add_aliases(message: Message, *ids: str) -> None:
    """Store further ids by which people may look for a locked message."""
    new = [one[:500] for one in {*ids} - {"", *message.aliases}]
    if not new or len(message.aliases) > MAX_ALIASES:
        return
    message.aliases = [*message.aliases, *new]
    more = _as_vector(*indexed((CONTENT, one) for one in new))
    words = Coalesce(F("search"), _as_vector())
    message.row.update(
        aliases=message.aliases,
        search=Func(words, more, template="%(expressions)s", arg_joiner=" || "),
    )


def create_message(
    connection: Connection,
    *,
    upstream_id: str,
    event: str,
    now: datetime,
    **fields: Any,
) -> Message:
    """Create a message that the mirror does not have yet, in the state after its first
    event. Raises KeyError for an event that cannot be the first.
    """
    message = Message(
        connection=connection,
        upstream_id=upstream_id,
        state=MESSAGE_TRANSITIONS[START, event],
        changed_at=now,
        **fields,
    )
    message.search = search_words(message)
    message.save(force_insert=True)
    return message


def content_of(row: Mapping[str, Any]) -> Content:
    """Return the content of a pending row; its coverage names the fields that the row
    has.
    """
    values = {
        name: next((row[key] for key in keys if row.get(key) is not None), None)
        for name, keys in _SOURCES.items()
    }
    additions = values["additions"] if isinstance(values["additions"], dict) else {}
    attachments = []
    for item in _listed(values["attachments"]):
        if not isinstance(item, dict):
            attachments.append(Attachment(name=str(item), content_type="", size=0))
            continue
        size = item.get("size") or item.get("size_bytes")
        attachments.append(
            Attachment(
                name=text_in(item, "name", "filename"),
                content_type=text_in(item, "content_type"),
                size=size if isinstance(size, int) else 0,
                sha256=str(item.get("sha256") or ""),
                content_id=text_in(item, "content_id"),
            )
        )
    return Content(
        sender=str(values["from"] or ""),
        sender_name=str(values["from_name"] or ""),
        reply_to=_text(values["reply_to"]) or None,
        to=addresses_in(values["to"]),
        cc=addresses_in(values["cc"]),
        bcc=addresses_in(values["bcc"]),
        subject=str(values["subject"] or ""),
        markdown=_text(values["markdown"]),
        html=_text(values["html"]),
        in_reply_to=_text(values["in_reply_to"]),
        attachments=tuple(attachments),
        additions={str(name): str(text) for name, text in additions.items() if text},
        send_at=_text(values["send_at"]),
        coverage=tuple(
            name for name in FIELDS if any(key in row for key in _SOURCES[name])
        ),
    )


def stored_content(revision: Revision) -> Content:
    """Return the content of a stored revision."""
    return content_from_json({**revision.content, "coverage": revision.coverage})


def rendered_content(revision: Revision, content: Content | None) -> RenderedMessage:
    """Return a revision's content, or the given part of it, rendered to look at. Raises
    ParserUnavailable.
    """
    content = content or stored_content(revision)
    if revision.is_unsafe:
        return render_source(content, NOT_SAFE)
    with from_source(*revision.message.sources):
        return render_message(content)


def changed_content(revision: Revision, content: Content) -> Content | None:
    """Return the content of the new revision that `content` requires; None if it
    neither changes nor adds anything.

    Only the fields that both contents cover are compared. If they are equal, the new
    revision has all fields of both; a content that covers no other field is no change.
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
    return replace(
        content,
        coverage=tuple(
            name
            for name in FIELDS
            if name in stored.coverage or name in content.coverage
        ),
        **{name: getattr(stored, name) for name in unshared},
    )


def examined_content(message: Message, content: Content) -> Examined:
    """Return what the parser finds in a content of the message. Raises
    ParserUnavailable.

    If the parser had to be killed over the current version, the same content is not
    given to it again.
    """
    current = message.revision
    if current and current.is_unsafe and current.fingerprint == fingerprint(content):
        return unexamined(content)
    return examine_content(content)


@transaction.atomic
def add_findings(revision: Revision, *findings: Finding) -> None:
    """Store further findings of a version, and send `more_known`."""
    message = (
        Message.objects.select_for_update(of=("self",), no_key=True)
        .select_related("mailbox")
        .get(pk=revision.message_id)
    )
    stored = Revision.objects.get(pk=revision.pk)
    known = set(map(restored, stored.findings))
    if new := [asdict(one) for one in findings if one not in known]:
        stored.findings = [*new, *stored.findings]
        stored.save(update_fields=["findings"])
    more_known.send(sender=Revision, message=message, revision=stored)


def held_since(row: Mapping[str, Any], now: datetime) -> datetime:
    """Return since when a pending row is held, by MultiMail's times; `now` if it has
    none, or one in the future.
    """
    since = read_time(row.get("received_at") or row.get("created_at"))
    send_at = read_time(row.get("send_at"))
    has_waited = since and send_at and since < send_at <= now
    if has_waited and row.get("gate_timing") != "gate_first":
        # It waited for its time of sending before it was held.
        since = send_at
    return min(since, now) if since else now


def _text(value: Any) -> str | None:
    """Return a value as text. A value of an unexpected type becomes text too, because
    to leave it out could hide something.
    """
    return value if value is None or isinstance(value, str) else str(value)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def addresses_in(value: Any) -> tuple[str, ...]:
    """Return the addresses in a list, or in a text with commas."""
    items = value.split(",") if isinstance(value, str) else _listed(value)
    return tuple(str(item).strip() for item in items if str(item).strip())


def begin_message(
    connection: Connection, event: Event, *, begins: str, now: datetime
) -> Message:
    """Create a message from the first event about it; `begins` is the event that sets
    its state.
    """
    return create_message(
        connection,
        upstream_id=event.email_id,
        event=begins,
        now=now,
        mailbox=find_mailbox(
            connection, upstream_id=event.mailbox_id, address=event.mailbox
        ),
        direction=event.direction,
        upstream_status=fitting("upstream_status", event.status),
        # Of mail that is never held no content is read: only the event has its
        # recipients.
        addresses=addresses_of(
            event.to, sender=event.sender, direction=event.direction
        ),
        held_at=min(event.at, now) if event.at else now,
        trace=trace_id.get(),
        aliases=list(event.mail_ids),
        **_reported(event),
    )


# The fields of a message that say how it was decided.
_DECIDED = ("upstream_reason", "upstream_decided_by", "upstream_ended_by")


def _reported(event: Event) -> dict[str, Any]:
    """Return the columns of a message that an event contains."""
    return {
        "thread_id": fitting("thread_id", event.thread_id),
        "trigger": dict(event.metadata),
        "sender": fitting("sender", event.sender),
        "recipients": list(event.to),
        "subject": event.subject,
        "sandbox": event.sandbox,
        "upstream_reason": event.reason,
        "upstream_decided_by": fitting("upstream_decided_by", event.decided_by),
        "upstream_ended_by": event.ended_by,
    }


def fill_from_event(message: Message, event: Event) -> None:
    """Fill the empty columns of a locked message from one more event about it. If its
    content was read already, only those that say how it was decided.
    """
    values: dict[str, Any] = {}
    is_decided = event.kind != MessageEvent.PENDING
    is_unread = not message.hydrated_at
    for name, value in _reported(event).items():
        may_fill = is_decided if name in _DECIDED else is_unread
        if may_fill and value and not getattr(message, name):
            values[name] = value
    if not message.mailbox_id:
        values["mailbox"] = find_mailbox(
            message.connection, upstream_id=event.mailbox_id, address=event.mailbox
        )
    if is_unread:
        if event.direction == "inbound":
            values["direction"] = "inbound"
        values["addresses"] = addresses_of(
            map(str, values.get("recipients", message.recipients)),
            sender=values.get("sender", message.sender),
            direction=values.get("direction", message.direction),
        )
        if event.at and event.at < message.held_at:
            values["held_at"] = event.at
    changed_names = [name for name in values if getattr(message, name) != values[name]]
    for name in changed_names:
        setattr(message, name, values[name])
    if changed_names:
        if is_unread:
            message.search = search_words(message)
            changed_names.append("search")
        message.save(update_fields=changed_names)
    add_aliases(message, *event.mail_ids)


def event_from_answer(answer: Mapping[str, Any]) -> Event:
    """Return MultiMail's answer about a message in the form of an event, for
    `fill_from_event`.
    """
    content = content_of(answer)
    metadata = answer.get("metadata")
    return Event(
        kind="",
        name="",
        mailbox_id=text_in(answer, "mailbox_id"),
        mailbox=text_in(answer, "mailbox"),
        thread_id=text_in(answer, "thread_id"),
        sender=content.sender,
        to=content.to,
        subject=content.subject,
        direction=direction_of(answer.get("direction"), answer.get("status")),
        metadata=metadata if isinstance(metadata, dict) else {},
        sandbox=answer.get("sandbox") is True,
        mail_ids=mail_ids(answer),
    )
