"""Routes that list and read messages, threads, tags and files, and cancel a message.

Functions without a route, such as those with `flat` in their names, answer the same
calls in other dialects of MultiMail's clients: `other_paths.py` has their paths.
"""

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.http import content_disposition_header
from ninja import Query, Router
from pydantic import BeforeValidator, field_validator

from common.unique_keys import Json
from gateway.api.answers import (
    ID,
    Answer,
    Changed,
    FileLink,
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
from gateway.api.bodies import (
    Body,
    MailboxName,
    MustNameEmail,
    ShortText,
    example,
    without_nulls,
)
from gateway.api.dialects import is_flat
from gateway.api.sending import CancelIn
from gateway.auth import READ, SEES_HELD, SEND, KeyedRequest
from gateway.errors import Invalid, NotFound
from gateway.lookups import (
    LASTS,
    check_may_read,
    email_named,
    file_of_token,
    link_token,
    mailbox_named,
    mailbox_named_or_only,
    may_read,
    open_email,
    thread_named,
)
from gateway.messages import decisions
from gateway.messages.labels import add_tags, drop_tag, parse_tags
from gateway.models import ApiKey, Attachment, Email, EmailQuerySet, Mailbox, Scope
from gateway.states import AWAITING_DECISION, Direction, Status
from gateway.timestamps import iso, parse_loosely

_TagMap = Annotated[dict[str, str], BeforeValidator(parse_tags)]
_EMAIL = "/mailboxes/{mailbox}/emails/{email}"
# Messages in the answer for a thread.
MAX_MESSAGES = 500
# The same for an answer with bodies: each may be as long as a message can be.
MAX_MESSAGES_WITH_BODIES = 50
# Mail in these states is no reply in a thread, because it was never sent.
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
    limit: Annotated[int, clamp(1, 100, 20)] = 20
    offset: Annotated[int, clamp(0, MAX_OFFSET)] = 0

    def apply(self, emails: EmailQuerySet) -> EmailQuerySet:
        """Return `emails` narrowed and ordered. `cursor` wins over `offset`; with
        `since_id` what became readable first comes first.
        """
        emails = self._narrow(emails)
        cursor = read_cursor(self.cursor)
        if since := self.since_id:
            # 0 means the beginning.
            if since != "0" and not ID.fullmatch(since):
                raise Invalid("since_id: must be the id of a message, or 0.")
            return emails.since(cursor or since)
        if cursor:
            return emails.filter(id__lt=cursor).order_by("-id")
        ordered = emails.order_by("-id")
        start = self.offset
        return ordered[start : start + self.limit + 1] if start else ordered

    @field_validator("status")
    @classmethod
    def _is_listed(cls, status: Status | None) -> Status | None:
        # No row has it, and MultiMail does not accept it here either.
        if status == Status.PENDING_SCAN:
            raise ValueError("messages cannot be listed by pending_scan.")
        return status

    def _narrow(self, emails: EmailQuerySet) -> EmailQuerySet:
        wanted = {
            "status": self.status,
            "direction": self.direction,
            "from_address__icontains": self.sender or None,
            "subject__icontains": self.subject_contains or None,
            "created_at__gt": self.date_after,
            "created_at__lt": self.date_before,
            "has_attachments": self.has_attachments,
        }
        emails = emails.filter(**without_nulls(wanted))
        return emails if self.status else emails.in_sight()


class InboxFilters(ListFilters):
    """The parameters of `check_inbox`: those of a list, the name of the mailbox, and
    `unread`.
    """

    mailbox: MailboxName = ""
    unread: _MaybeFlag = None

    def _narrow(self, emails: EmailQuerySet) -> EmailQuerySet:
        """Keep unread mail only, unless a status is given or `unread=false` asks for
        read mail too.
        """
        emails = super()._narrow(emails)
        if self.status:
            return emails
        return emails.filter(
            status__in=(Status.UNREAD, Status.READ)
            if self.unread is False
            else (Status.UNREAD,)
        )


class ZapierFilters(InboxFilters):
    """The parameters of Zapier's inbox, which lists read mail too."""

    unread: _MaybeFlag = False
    limit: Annotated[int, clamp(1, 100, 25)] = 25


class SpamFilters(ListFilters):
    """The parameters of the list of spam."""

    status: Annotated[
        _MaybeStatus, BeforeValidator(lambda value: value or Status.SPAM_QUARANTINED)
    ] = Status.SPAM_QUARANTINED


router = Router(tags=["messages"], auth=READ)


@router.get("/mailboxes/{mailbox}/emails", response=Messages)
def list_emails(
    request: KeyedRequest, mailbox: str, filters: Query[ListFilters]
) -> Json:
    """List the messages of a mailbox, newest first; with `since_id` only newer ones,
    oldest first.
    """
    return _page(request, filters, mailbox=mailbox_named(request.auth, mailbox))


@router.get(_EMAIL, response=Message)
def read_email(request: KeyedRequest, mailbox: str, email: str) -> Json:
    """Read one message whole. An unread one is read from then on."""
    found = _email(request, mailbox, email)
    open_email(request.auth, found)
    names = ["markdown"] if is_by_mcp_server(request) else ["markdown", "text_body"]
    return full_email(found, *names)


@router.post(_EMAIL + "/cancel", auth=SEND, response=Changed)
def cancel(request: KeyedRequest, mailbox: str, email: str) -> Json:
    """Cancel a message that has not been sent."""
    return _cancel(request, _email(request, mailbox, email))


def check_inbox(request: KeyedRequest, filters: Query[InboxFilters]) -> Json:
    """List received mail: unread mail, if nothing else is asked for."""
    box = mailbox_named_or_only(request.auth, filters.mailbox, field="mailbox")
    return _page(request, filters, mailbox=box, direction=Direction.INBOUND)


def check_zapier_inbox(request: KeyedRequest, filters: Query[ZapierFilters]) -> Json:
    """List received mail, read or not."""
    return check_inbox(request, filters)


def list_spam(request: KeyedRequest, filters: Query[SpamFilters]) -> Json:
    """List received mail of all mailboxes that was put away as spam; with `status`,
    mail of that status instead.
    """
    return _page(request, filters, direction=Direction.INBOUND)


def read_flat(
    request: KeyedRequest, id: str = "", email_id: str = "", message_id: str = ""
) -> Json:
    """Read one message whole, by its id alone."""
    given_id = id or email_id or message_id
    if not given_id:
        raise Invalid("id: give the id of the message.")
    found = email_named(request.auth, given_id)
    open_email(request.auth, found)
    result = full_email(found, "markdown", "text", "body", "text_body", flat=True)
    return result | {"html_body": found.html}


def cancel_flat(request: KeyedRequest, body: CancelIn) -> Json:
    """Cancel a message that has not been sent, by its id alone."""
    return _cancel(request, email_named(request.auth, body.names_email()))


def _cancel(request: KeyedRequest, email: Email) -> Json:
    cancelled = decisions.cancel_email(request.auth, email)
    return cancelled.ids() | {"status": cancelled.status}


def _page(request: KeyedRequest, filters: ListFilters, **only: Any) -> Json:
    key = request.auth
    emails = Email.objects.visible_to(key).filter(**only)
    if filters.subject_contains or filters.since_id:
        # A key must not learn withheld text by searching for it, and mail that is let
        # in later comes once.
        emails = emails.readable_by(key)
    rows = filters.apply(emails).with_mailbox().without_bodies()
    page, cursor = cut(rows, filters.limit)
    return {
        "emails": [list_row(key, email, flat=is_flat(request)) for email in page],
        "cursor": cursor,
    }


class ThreadFilters(PageFilters):
    """The parameters of a thread. A page with bodies has 50 messages at most."""

    limit: Annotated[int, clamp(1, MAX_MESSAGES, MAX_MESSAGES)] = MAX_MESSAGES
    bodies: bool = False


@router.get("/mailboxes/{mailbox}/threads/{thread}", response=Thread)
def read_thread(
    request: KeyedRequest, mailbox: str, thread: str, filters: Query[ThreadFilters]
) -> Json:
    """List the newest messages of a thread, oldest first; with `bodies` fewer, with
    their text. `cursor` leads to those before. Nothing is marked read.
    """
    box = mailbox_named(request.auth, mailbox)
    return _thread(request, thread, box, filters)


def read_thread_flat(
    request: KeyedRequest, thread_id: str = "", mailbox: str = ""
) -> Json:
    """List a thread, oldest first, by its id alone; `to` is text."""
    if not thread_id:
        raise Invalid("thread_id: give the id of the thread.")
    box = mailbox_named(request.auth, mailbox) if mailbox else None
    return _thread(request, thread_id, box, ThreadFilters())


def _thread(
    request: KeyedRequest,
    thread_id: str,
    mailbox: Mailbox | None,
    filters: ThreadFilters,
) -> Json:
    key = request.auth
    thread = thread_named(key, thread_id, mailbox)
    limit = filters.limit
    listed = thread
    if filters.bodies:
        limit = min(limit, MAX_MESSAGES_WITH_BODIES)
    else:
        listed = thread.without_bodies()
    if before := read_cursor(filters.cursor):
        listed = listed.filter(id__lt=before)
    page, cursor = cut(listed, limit)
    if not page:
        raise NotFound(
            "There is no such thread in this account.", code="unknown_thread"
        )
    emails = page[::-1]
    # Authors and visible recipients, in the order in which they joined the thread.
    participants = dict.fromkeys(
        address
        for email in emails
        for address in (email.from_address, *email.to, *email.cc)
        if address
    )
    # A reply that waits for approval counts too, so that no second one is written.
    in_thread = thread.exclude(status__in=_NEVER_SENT)
    last_direction = in_thread.values_list("direction", flat=True).first()
    last_activity = thread.values_list("created_at", flat=True).first()
    result: Json = {
        "thread_id": thread_id,
        "message_count": thread.count(),
        "participants": list(participants),
        "last_activity": iso(last_activity),
        "has_unanswered_inbound": last_direction == Direction.INBOUND,
        "truncated": cursor is not None,
        "cursor": cursor,
        "emails": [],
    }
    for email in emails:
        row = list_row(key, email, flat=is_flat(request))
        if filters.bodies and may_read(key, email):
            row |= {"markdown": email.markdown, "html_body": email.html}
        result["emails"].append(row)
    return result


@router.get(_TAGS, response=Tags)
def read_tags(request: KeyedRequest, mailbox: str, email: str) -> Json:
    """Get the tags of a message."""
    return {"tags": _email(request, mailbox, email).tags}


@router.put(_TAGS, auth=SEND, response=Tags)
def write_tags(request: KeyedRequest, mailbox: str, email: str, body: TagsIn) -> Json:
    """Add tags to a message; tags of the same name are overwritten, all others stay."""
    return {"tags": add_tags(request.auth, _email(request, mailbox, email), body.tags)}


@router.delete(_TAGS + "/{path:name}", auth=SEND, response=Answer)
def delete_tag(request: KeyedRequest, mailbox: str, email: str, name: str) -> Json:
    """Remove one tag; its name may hold slashes."""
    return {"deleted": drop_tag(request.auth, _email(request, mailbox, email), name)}


def tag_flat(request: KeyedRequest, body: FlatTagsIn) -> Json:
    """Add tags to a message, by its id alone; the answer lists their names."""
    return tag_by_id(request, body.names_email(), body)


def tag_by_id(request: KeyedRequest, email: str, body: TagsIn) -> Json:
    """Add tags to the message of this id; the answer lists their names."""
    found = email_named(request.auth, email)
    merged = add_tags(request.auth, found, body.tags)
    return found.ids() | {"tags": list(merged), "tag_map": merged}


def _email(request: KeyedRequest, mailbox: str, email: str) -> Email:
    return email_named(request.auth, email, mailbox_named(request.auth, mailbox))


# Declared before the route of the bytes, which would take `/url` for a part of the
# name.
@router.get(_FILE + "/url", response=FileLink)
def link_to_file(
    request: KeyedRequest, mailbox: str, email: str, name: str
) -> HttpResponse:
    """Get a link to one file that works for an hour and needs no key."""
    found = _email(request, mailbox, email)
    # If no file has this name, `/url` may be a part of a file's name.
    file = _file(request.auth, found, name, unless=f"{name}/url")
    if file.name != name:
        return _download(file)
    token = quote(link_token(request.auth, file))
    return JsonResponse(
        {
            "url": request.build_absolute_uri(f"/v1/files/{token}"),
            "filename": file.name,
            "size_bytes": file.size,
            "content_type": file.content_type,
            "expires_in": LASTS,
        }
    )


@router.get(_FILE, include_in_schema=False)
def read_file(
    request: KeyedRequest, mailbox: str, email: str, name: str
) -> HttpResponse:
    """Get the bytes of one file."""
    return _download(_file(request.auth, _email(request, mailbox, email), name))


@router.get(
    "/oversight/pending/{email}/attachments/{path:name}",
    auth=SEES_HELD,
    include_in_schema=False,
)
def read_held_file(request: KeyedRequest, email: str, name: str) -> HttpResponse:
    """Get the bytes of one file of a held message, which whoever decides about the
    message may read.
    """
    found = email_named(request.auth, email)
    if found.status not in AWAITING_DECISION:
        raise NotFound(
            "This message is no longer held. Reading its files needs a key with the scope read."
        )
    return _download(_file(request.auth, found, name))


@router.get("/oversight/pending/{email}/original", auth=SEES_HELD, response=Original)
def read_original(request: KeyedRequest, email: str) -> Json:
    """Get the HTML of a message as its author handed it in, and what simplifying it
    changed.
    """
    found = email_named(request.auth, email)
    check_may_read(request.auth, found)
    if not found.gated and not request.auth.may(Scope.READ):
        raise NotFound(
            "This message was never held. Reading it needs a key with the scope read."
        )
    return {
        "html": found.original_html or found.html or "",
        "changes": found.simplified,
    }


@router.get("/files/{token}", auth=None, include_in_schema=False)
def read_file_by_link(request: HttpRequest, token: str) -> HttpResponse:
    """Get the bytes of the file that a link leads to."""
    return _download(file_of_token(token))


def _file(key: ApiKey, email: Email, name: str, *, unless: str = "") -> Attachment:
    # Returns the attachment with this name, or else the one named `unless`.
    check_may_read(key, email)
    files = {file.name: file for file in email.attachments.all()}
    file = files.get(name) or files.get(unless)
    if not file:
        raise NotFound("This message has no file of that name.")
    return file


def _download(file: Attachment) -> HttpResponse:
    # Answers with the bytes of a file.
    response = HttpResponse(bytes(file.content), content_type=file.content_type)
    # A stranger or an agent wrote the file, so a browser must not show it as a page of
    # this host.
    response["Content-Disposition"] = content_disposition_header(
        as_attachment=True, filename=file.name
    )
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response
