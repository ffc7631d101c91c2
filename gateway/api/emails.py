"""Reading messages and their files, and taking a message back."""

from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from ninja import Query, Router

from gateway import decide, paging, reading, shapes
from gateway.answers.base import Changed, answer, documented
from gateway.answers.messages import Message, Messages
from gateway.auth import KeyedRequest, needs
from gateway.errors import Invalid
from gateway.filters import InboxFilters, ListFilters, SpamFilters
from gateway.lookups import email_named, mailbox_named, mailbox_named_or_only
from gateway.models import ApiKey, Email
from gateway.models.accounts import Scope
from gateway.querysets.emails import EmailQuerySet
from gateway.schemas.send import CancelIn

router = Router(tags=["messages"])

_EMAIL = "/mailboxes/{mailbox}/emails/{email}"


@router.get("/mailboxes/{mailbox}/emails", auth=needs(Scope.READ), response=documented(Messages))
def list_emails(request: KeyedRequest, mailbox: str, filters: Query[ListFilters]) -> HttpResponse:
    """List a mailbox, newest first; with `since_id` only what is newer, oldest first."""
    box = mailbox_named(request.auth, mailbox)
    rows = filters.apply(_searched(request.auth, filters).filter(mailbox=box))
    return _page(request.auth, rows, filters.page_size(), flat=False)


@router.get(_EMAIL, auth=needs(Scope.READ), response=documented(Message))
def read_email(request: KeyedRequest, mailbox: str, email: str) -> HttpResponse:
    """Read one message whole. An unread one is read from then on."""
    found = email_named(request.auth, email, mailbox=mailbox_named(request.auth, mailbox))
    reading.open_email(request.auth, found)
    # MCP clients name a type even without a body, and trust every key but `markdown`; see shapes.full.
    by_mcp = request.headers.get("Content-Type", "").lower().startswith("application/json")
    return answer(shapes.full(found, text_body=not by_mcp))


@router.post(_EMAIL + "/cancel", auth=needs(Scope.SEND), response=documented(Changed))
def cancel(request: KeyedRequest, mailbox: str, email: str) -> HttpResponse:
    """Take back a message that has not left."""
    return _cancel(request.auth, email_named(request.auth, email, mailbox=mailbox_named(request.auth, mailbox)))


def check_inbox(request: KeyedRequest, filters: Query[InboxFilters]) -> HttpResponse:
    """List received mail, unread if nothing else is asked for."""
    box = mailbox_named_or_only(request.auth, filters.mailbox, field="mailbox")
    rows = filters.apply(_searched(request.auth, filters).filter(mailbox=box).received())
    return _page(request.auth, rows, filters.page_size(), flat=True)


def list_of_all(request: KeyedRequest, filters: SpamFilters) -> HttpResponse:
    """List received mail of all mailboxes that the key may use."""
    rows = filters.apply(_searched(request.auth, filters).received())
    return _page(request.auth, rows, filters.page_size(), flat=True)


def read_flat(request: KeyedRequest, id: str = "", email_id: str = "", message_id: str = "") -> HttpResponse:
    """Read one message whole, by its id alone."""
    named = id or email_id or message_id
    if not named:
        raise Invalid("id: say which message.", field="id")
    found = email_named(request.auth, named)
    reading.open_email(request.auth, found)
    return answer(shapes.full_flat(found))


def cancel_flat(request: KeyedRequest, body: CancelIn) -> HttpResponse:
    """Take back a message that has not left, by its id alone."""
    return _cancel(request.auth, email_named(request.auth, body.names_email()))


def _cancel(key: ApiKey, email: Email) -> HttpResponse:
    cancelled = decide.cancel_email(key=key, email=email, now=timezone.now())
    ids: dict[str, Any] = {"id": cancelled.pk, "email_id": cancelled.pk, "message_id": cancelled.pk}
    return answer(ids | {"status": cancelled.status})


def _searched(key: ApiKey, filters: ListFilters) -> EmailQuerySet:
    emails = Email.objects.visible_to(key)
    # What may not be read may not be guessed by searching either.
    return emails.readable_by(key) if filters.subject_contains else emails


def _page(key: ApiKey, rows: Any, limit: int, *, flat: bool) -> HttpResponse:
    page, cursor = paging.cut(list(rows.with_mailbox()[: limit + 1]), limit)
    return answer({"emails": [reading.row(key, email, flat=flat) for email in page], "cursor": cursor})
