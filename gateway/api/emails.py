"""Reading messages and their files, and taking a message back."""

from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from django.utils.http import content_disposition_header
from ninja import Query, Router

from gateway import decide, paging, shapes
from gateway.answers.base import Changed, answer, documented
from gateway.answers.messages import Message, Messages
from gateway.auth import KeyedRequest, needs
from gateway.errors import Forbidden, NotFound
from gateway.filters import InboxFilters, ListFilters
from gateway.lookups import email_named, mailbox_named, mailbox_named_or_only
from gateway.models import ApiKey, Attachment, Email
from gateway.models.accounts import Scope
from gateway.schemas.send import CancelIn
from gateway.states import Change, Status

router = Router(tags=["messages"])

_EMAIL = "/mailboxes/{mailbox}/emails/{email}"


@router.get("/mailboxes/{mailbox}/emails", auth=needs(Scope.READ), response=documented(Messages))
def list_emails(request: KeyedRequest, mailbox: str, filters: Query[ListFilters]) -> HttpResponse:
    """List a mailbox, newest first; with `since_id` only what is newer, oldest first."""
    box = mailbox_named(request.auth, mailbox)
    rows = filters.apply(Email.objects.visible_to(request.auth).filter(mailbox=box))
    return _page(rows, filters.page_size(), flat=False)


@router.get(_EMAIL, auth=needs(Scope.READ), response=documented(Message))
def read_email(request: KeyedRequest, mailbox: str, email: str) -> HttpResponse:
    """Read one message whole. An unread one is read from then on."""
    found = email_named(request.auth, email, mailbox=mailbox_named(request.auth, mailbox))
    _open(request.auth, found)
    # MCP clients name a type even without a body, and trust every key but `markdown`; see shapes.full.
    by_mcp = request.headers.get("Content-Type", "").startswith("application/json")
    return answer(shapes.full(found, text_body=not by_mcp))


@router.get(_EMAIL + "/attachments/{path:name}", auth=needs(Scope.READ), include_in_schema=False)
def read_attachment(request: KeyedRequest, mailbox: str, email: str, name: str) -> HttpResponse:
    """Get the bytes of one file."""
    found = email_named(request.auth, email, mailbox=mailbox_named(request.auth, mailbox))
    _check_may_open(request.auth, found)
    file = Attachment.objects.filter(email=found, name=name).first()
    if file is None:
        raise NotFound("This message has no file of that name.")
    response = HttpResponse(bytes(file.content), content_type=file.content_type)
    # Written by an agent: never shown by a browser as a page of this host.
    response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=file.name)
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


@router.post(_EMAIL + "/cancel", auth=needs(Scope.SEND), response=documented(Changed))
def cancel(request: KeyedRequest, mailbox: str, email: str) -> HttpResponse:
    """Take back a message that has not left."""
    return _cancel(request.auth, email_named(request.auth, email, mailbox=mailbox_named(request.auth, mailbox)))


def check_inbox(request: KeyedRequest, filters: Query[InboxFilters]) -> HttpResponse:
    """List received mail, unread if nothing else is asked for."""
    box = mailbox_named_or_only(request.auth, filters.mailbox)
    rows = filters.apply(Email.objects.visible_to(request.auth).filter(mailbox=box).received())
    return _page(rows, filters.page_size(), flat=True)


def read_flat(request: KeyedRequest, id: str = "", email_id: str = "", message_id: str = "") -> HttpResponse:
    """Read one message whole, by its id alone."""
    found = email_named(request.auth, id or email_id or message_id)
    _open(request.auth, found)
    return answer(shapes.full_flat(found))


def cancel_flat(request: KeyedRequest, body: CancelIn) -> HttpResponse:
    """Take back a message that has not left, by its id alone."""
    return _cancel(request.auth, email_named(request.auth, body.names_email()))


def _cancel(key: ApiKey, email: Email) -> HttpResponse:
    cancelled = decide.cancel_email(key=key, email=email, now=timezone.now())
    ids: dict[str, Any] = {"id": cancelled.pk, "email_id": cancelled.pk, "message_id": cancelled.pk}
    return answer(ids | {"status": cancelled.status})


def _check_may_open(key: ApiKey, email: Email) -> None:
    if email.status == Status.PENDING_INBOUND_APPROVAL and not key.may(Scope.OVERSIGHT, Scope.OVERSIGHT_READ):
        raise Forbidden("This message waits for approval and cannot be read before.", code="awaiting_approval")


def _open(key: ApiKey, email: Email) -> None:
    _check_may_open(key, email)
    if email.status == Status.UNREAD:
        Email.objects.move(email, Change.OPEN)


def _page(rows: Any, limit: int, *, flat: bool) -> HttpResponse:
    page, cursor = paging.cut(list(rows.with_mailbox()[: limit + 1]), limit)
    return answer({"emails": [shapes.summary(email, flat=flat) for email in page], "cursor": cursor})
