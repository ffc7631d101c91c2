"""Reading messages, threads, tags and files, and cancelling a message."""

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.http import content_disposition_header
from ninja import Query, Router
from pydantic import BeforeValidator, field_validator

from gateway import lookups
from gateway.api.answers import (
    ID,
    Answer,
    Changed,
    FileLink,
    Json,
    Message,
    Messages,
    Original,
    OrNone,
    PageFilters,
    Tags,
    Thread,
    clamp,
    cut,
    full_email,
    is_by_mcp_server,
    list_row,
    read_cursor,
)
from gateway.api.bodies import Body, MailboxName, MustNameEmail, ShortText, example
from gateway.api.sending import CancelIn
from gateway.auth import READ, SEES_HELD, SEND, KeyedRequest
from gateway.errors import Invalid, NotFound
from gateway.lookups import (
    check_may_read,
    email_named,
    mailbox_named,
    mailbox_named_or_only,
    thread_named,
)
from gateway.messages import decisions, labels
from gateway.messages.labels import parse_tags
from gateway.models import ApiKey, Attachment, Email, EmailQuerySet, Mailbox
from gateway.states import AWAITING_DECISION, Direction, Status
from gateway.timestamps import iso, parse_loosely

_TagMap = Annotated[dict[str, str], BeforeValidator(parse_tags)]
_EMAIL = "/mailboxes/{mailbox}/emails/{email}"
MAX_MESSAGES = 500
# Each of these may be as long as a message can be.
MAX_MESSAGES_WITH_BODIES = 50
# Replies that were never sent.
_NEVER_SENT = (Status.REJECTED, Status.CANCELLED, Status.SEND_FAILED)
_TAGS = "/mailboxes/{mailbox}/emails/{email}/tags"
_FILE = "/mailboxes/{mailbox}/emails/{email}/attachments/{path:name}"


class TagsIn(Body):
    """Tags to add or to overwrite: an object, or words."""

    model_config = example({"tags": {"priority": "high"}})

    tags: _TagMap


class FlatTagsIn(TagsIn, MustNameEmail):
    """Tags to add to the message that the body names."""

    model_config = example({"id": "01JD0000000000000000000000", "tags": ["follow-up"]})


MAX_OFFSET = 1_000_000
_MaybeStatus = Annotated[Status | None, OrNone]
_MaybeDirection = Annotated[Direction | None, OrNone]
_MaybeFlag = Annotated[bool | None, OrNone]
_MaybeMoment = Annotated[
    datetime | None,
    BeforeValidator(lambda value: parse_loosely(value) if value else None),
]


class ListFilters(PageFilters):
    """The parameters of a mailbox's list."""

    status: _MaybeStatus = None
    direction: _MaybeDirection = None
    sender: ShortText = ""
    subject_contains: ShortText = ""
    date_after: _MaybeMoment = None
    date_before: _MaybeMoment = None
    has_attachments: _MaybeFlag = None
    since_id: ShortText = ""
    offset: str = ""

    def page_size(self) -> int:
        """Return how many rows a page has."""
        return clamp(self.limit, default=20, most=100)

    def apply(self, emails: EmailQuerySet) -> EmailQuerySet:
        """Narrow and order `emails`. `cursor` wins over `offset`; `since_id` turns the
        order round.
        """
        emails = self._narrow(emails)
        cursor = read_cursor(self.cursor)
        if since := self.since_id:
            # 0 stands for the beginning.
            if since != "0" and not ID.fullmatch(since):
                raise Invalid("since_id: must be the id of a message, or 0.")
            return emails.filter(id__gt=max(since, cursor or "")).order_by("id")
        if cursor:
            return emails.filter(id__lt=cursor).order_by("-id")
        start = clamp(self.offset, default=0, least=0, most=MAX_OFFSET, name="offset")
        ordered = emails.order_by("-id")
        return ordered[start : start + self.page_size() + 1] if start else ordered

    @field_validator("status")
    @classmethod
    def _is_listed(cls, status: Status | None) -> Status | None:
        # An internal state that lasts a moment; MultiMail does not accept it here
        # either.
        if status == Status.PENDING_SCAN:
            raise ValueError("messages cannot be listed by pending_scan.")
        return status

    def _narrow(self, emails: EmailQuerySet) -> EmailQuerySet:
        wanted: Json = {
            "status": self.status,
            "direction": self.direction,
            "from_address__icontains": self.sender or None,
            "subject__icontains": self.subject_contains or None,
            "created_at__gt": self.date_after,
            "created_at__lt": self.date_before,
            "has_attachments": self.has_attachments,
        }
        emails = emails.filter(
            **{name: value for name, value in wanted.items() if value is not None}
        )
        return emails.in_sight() if self.status is None else emails


class InboxFilters(ListFilters):
    """The parameters of `check_inbox`: those of a list, whose mailbox is named here,
    and `unread`.
    """

    mailbox: MailboxName = ""
    unread: _MaybeFlag = None

    def _narrow(self, emails: EmailQuerySet) -> EmailQuerySet:
        """Take unread mail, unless a status is named or `unread=false` asks for all
        that can be read.
        """
        emails = super()._narrow(emails)
        if self.status is not None:
            return emails
        return emails.filter(
            status__in=(Status.UNREAD, Status.READ)
            if self.unread is False
            else (Status.UNREAD,)
        )


class ZapierFilters(InboxFilters):
    """The parameters of Zapier's inbox: what can be read, whether it was or not."""

    unread: _MaybeFlag = False

    def page_size(self) -> int:
        """Return how many rows a page has."""
        return clamp(self.limit, default=25, most=100)


class SpamFilters(ListFilters):
    """The parameters of the list of spam, of all mailboxes."""

    status: Annotated[
        _MaybeStatus, BeforeValidator(lambda value: value or Status.SPAM_QUARANTINED)
    ] = Status.SPAM_QUARANTINED


router = Router(tags=["messages"], auth=READ)


@router.get("/mailboxes/{mailbox}/emails", response=Messages)
def list_emails(
    request: KeyedRequest, mailbox: str, filters: Query[ListFilters]
) -> Json:
    """List a mailbox, newest first; with `since_id` only what is newer, oldest first."""
    box = mailbox_named(request.auth, mailbox)
    return _page(request.auth, filters, flat=False, mailbox=box)


@router.get(_EMAIL, response=Message)
def read_email(request: KeyedRequest, mailbox: str, email: str) -> Json:
    """Read one message whole. An unread one is read from then on."""
    found = _email(request, mailbox, email)
    lookups.open_email(request.auth, found)
    names = ["markdown"] if is_by_mcp_server(request) else ["markdown", "text_body"]
    return full_email(found, *names)


@router.post(_EMAIL + "/cancel", auth=SEND, response=Changed)
def cancel(request: KeyedRequest, mailbox: str, email: str) -> Json:
    """Take back a message that has not left."""
    return _cancel(request.auth, _email(request, mailbox, email))


def check_inbox(request: KeyedRequest, filters: Query[InboxFilters]) -> Json:
    """List received mail, unread if nothing else is asked for."""
    box = mailbox_named_or_only(request.auth, filters.mailbox, field="mailbox")
    return _page(
        request.auth, filters, flat=True, mailbox=box, direction=Direction.INBOUND
    )


def check_zapier_inbox(request: KeyedRequest, filters: Query[ZapierFilters]) -> Json:
    """List received mail, read or not."""
    return check_inbox(request, filters)


def list_spam(request: KeyedRequest, filters: Query[SpamFilters]) -> Json:
    """List received mail of all mailboxes that was put away as spam; with `status` what
    has another one.
    """
    return _page(request.auth, filters, flat=True, direction=Direction.INBOUND)


def read_flat(
    request: KeyedRequest, id: str = "", email_id: str = "", message_id: str = ""
) -> Json:
    """Read one message whole, by its id alone."""
    named = id or email_id or message_id
    if not named:
        raise Invalid("id: give the id of the message.")
    found = email_named(request.auth, named)
    lookups.open_email(request.auth, found)
    whole = full_email(found, "markdown", "text", "body", "text_body", flat=True)
    return whole | {"html_body": found.html}


def cancel_flat(request: KeyedRequest, body: CancelIn) -> Json:
    """Take back a message that has not left, by its id alone."""
    return _cancel(request.auth, email_named(request.auth, body.names_email()))


def _cancel(key: ApiKey, email: Email) -> Json:
    cancelled = decisions.cancel_email(key, email)
    return cancelled.ids() | {"status": cancelled.status}


def _page(key: ApiKey, filters: ListFilters, *, flat: bool, **only: Any) -> Json:
    emails = Email.objects.visible_to(key).filter(**only)
    if filters.subject_contains:
        # A key must not learn withheld text by searching for it.
        emails = emails.readable_by(key)
    page, cursor = cut(filters.apply(emails).with_mailbox(), filters.page_size())
    return {
        "emails": [list_row(key, email, flat=flat) for email in page],
        "cursor": cursor,
    }


@router.get("/mailboxes/{mailbox}/threads/{thread}", response=Thread)
def read_thread(
    request: KeyedRequest, mailbox: str, thread: str, bodies: bool = False
) -> Json:
    """List a thread, oldest first; with `bodies` the newest messages, and what they
    say. Nothing is marked read.
    """
    return _thread(
        request.auth,
        thread,
        mailbox_named(request.auth, mailbox),
        flat=False,
        bodies=bodies,
    )


def read_thread_flat(
    request: KeyedRequest, thread_id: str = "", mailbox: str = ""
) -> Json:
    """List a thread, oldest first, by its id alone; `to` is text."""
    if not thread_id:
        raise Invalid("thread_id: give the id of the thread.")
    box = mailbox_named(request.auth, mailbox) if mailbox else None
    return _thread(request.auth, thread_id, box, flat=True)


def _thread(
    key: ApiKey,
    thread_id: str,
    mailbox: Mailbox | None,
    *,
    flat: bool,
    bodies: bool = False,
) -> Json:
    found = thread_named(key, thread_id, mailbox)
    most = MAX_MESSAGES_WITH_BODIES if bodies else MAX_MESSAGES
    emails = list(found[: most + 1])
    if not emails:
        raise NotFound(
            "There is no such thread in this account.", code="unknown_thread"
        )
    cut = len(emails) > most
    count = found.count() if cut else len(emails)
    emails = emails[:most][::-1]
    # Who wrote and who was written to openly, in the order in which they came in.
    people = dict.fromkeys(
        one
        for email in emails
        for one in (email.from_address, *email.to, *email.cc)
        if one
    )
    # An answer that waits for approval counts as one: a second must not be written.
    sent = [email for email in emails if email.status not in _NEVER_SENT]
    result: Json = {
        "thread_id": thread_id,
        "message_count": count,
        "participants": list(people),
        "last_activity": iso(emails[-1].created_at),
        "has_unanswered_inbound": bool(sent)
        and sent[-1].direction == Direction.INBOUND,
        "truncated": cut,
        "emails": [],
    }
    for email in emails:
        row = list_row(key, email, flat=flat)
        if bodies and lookups.may_read(key, email):
            row |= {"markdown": email.markdown, "html_body": email.html}
        result["emails"].append(row)
    return result


@router.get(_TAGS, response=Tags)
def read_tags(request: KeyedRequest, mailbox: str, email: str) -> Json:
    """Get the tags of a message."""
    return {"tags": _email(request, mailbox, email).tags}


@router.put(_TAGS, auth=SEND, response=Tags)
def write_tags(request: KeyedRequest, mailbox: str, email: str, body: TagsIn) -> Json:
    """Add tags to a message; those of the same name are overwritten, all others stay."""
    found = _email(request, mailbox, email)
    return {"tags": labels.add_tags(request.auth, found, body.tags)}


@router.delete(_TAGS + "/{path:name}", auth=SEND, response=Answer)
def delete_tag(request: KeyedRequest, mailbox: str, email: str, name: str) -> Json:
    """Take one tag away; its name may hold slashes."""
    found = _email(request, mailbox, email)
    return {"deleted": labels.drop_tag(request.auth, found, name)}


def tag_flat(request: KeyedRequest, body: FlatTagsIn) -> Json:
    """Add tags to a message, by its id alone; the answer lists their names."""
    return tag_by_id(request, body.names_email(), body)


def tag_by_id(request: KeyedRequest, email: str, body: TagsIn) -> Json:
    """Add tags to the message of this id; the answer lists their names."""
    found = email_named(request.auth, email)
    merged = labels.add_tags(request.auth, found, body.tags)
    return found.ids() | {"tags": list(merged), "tag_map": merged}


def _email(request: KeyedRequest, mailbox: str, email: str) -> Email:
    return email_named(request.auth, email, mailbox_named(request.auth, mailbox))


# Before the route of the bytes, which would take this suffix for a part of the name.
@router.get(_FILE + "/url", response=FileLink)
def link_to_file(
    request: KeyedRequest, mailbox: str, email: str, name: str
) -> HttpResponse:
    """Get a link to one file that works for an hour and needs no key."""
    found = _email(request, mailbox, email)
    # Where there is no file of this name, the suffix may be a part of one.
    file = _file(request.auth, found, name, unless=f"{name}/url")
    if file.name != name:
        return _bytes(file)
    token = quote(lookups.link_token(request.auth, file))
    result = {
        "url": request.build_absolute_uri(f"/v1/files/{token}"),
        "filename": file.name,
        "size_bytes": file.size,
        "content_type": file.content_type,
        "expires_in": lookups.LASTS,
    }
    return JsonResponse(result)


@router.get(_FILE, include_in_schema=False)
def read_file(
    request: KeyedRequest, mailbox: str, email: str, name: str
) -> HttpResponse:
    """Get the bytes of one file."""
    return _bytes(_file(request.auth, _email(request, mailbox, email), name))


@router.get(
    "/oversight/pending/{email}/attachments/{path:name}",
    auth=SEES_HELD,
    include_in_schema=False,
)
def read_held_file(request: KeyedRequest, email: str, name: str) -> HttpResponse:
    """Get the bytes of one file of a message that waits: whoever decides may read what
    they decide on.
    """
    found = email_named(request.auth, email)
    if found.status not in AWAITING_DECISION:
        raise NotFound(
            "This message is no longer held. Reading its files needs a key with the scope read."
        )
    return _bytes(_file(request.auth, found, name))


@router.get("/oversight/pending/{email}/original", auth=SEES_HELD, response=Original)
def read_original(request: KeyedRequest, email: str) -> Json:
    """Get the HTML of a message as its author handed it in, and what simplifying it
    changed.
    """
    found = email_named(request.auth, email)
    check_may_read(request.auth, found)
    return {
        "html": found.original_html or found.html or "",
        "changes": found.simplified,
    }


@router.get("/files/{token}", auth=None, include_in_schema=False)
def read_file_by_link(request: HttpRequest, token: str) -> HttpResponse:
    """Get the bytes of the file that a link leads to."""
    return _bytes(lookups.file_of_token(token))


def _file(key: ApiKey, email: Email, name: str, *, unless: str = "") -> Attachment:
    check_may_read(key, email)
    files = {file.name: file for file in email.attachments.all()}
    file = files.get(name) or files.get(unless)
    if file is None:
        raise NotFound("This message has no file of that name.")
    return file


def _bytes(file: Attachment) -> HttpResponse:
    response = HttpResponse(bytes(file.content), content_type=file.content_type)
    # Written by a stranger or an agent: never shown by a browser as a page of this
    # host.
    response["Content-Disposition"] = content_disposition_header(
        as_attachment=True, filename=file.name
    )
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response
