"""Answering a message: the current dialect by path, and the flat one by message or thread."""

from django.http import HttpResponse
from ninja import Router

from gateway.answers.base import documented
from gateway.answers.messages import Sent
from gateway.api.accepting import accept, header_key
from gateway.auth import KeyedRequest, needs
from gateway.errors import Invalid
from gateway.lookups import bare_address, email_named, mailbox_named, newest_in_thread
from gateway.models import ApiKey, Email, Mailbox
from gateway.models.accounts import Scope
from gateway.reading import check_may_read
from gateway.schemas.replies import FlatReplyIn, ReplyFromIn, ReplyIn

router = Router(tags=["send"])


@router.post(
    "/mailboxes/{mailbox}/reply/{email}", auth=needs(Scope.SEND), response=documented(Sent, status=202, also=(200,))
)
def reply(request: KeyedRequest, mailbox: str, email: str, body: ReplyIn) -> HttpResponse:
    """Answer a message: its author, or the recipients of one of our own. Gated mailboxes hold the answer for review."""
    box = mailbox_named(request.auth, mailbox)
    return _reply(request, box, email_named(request.auth, email, mailbox=box), body, flat=False)


def reply_flat(request: KeyedRequest, body: FlatReplyIn) -> HttpResponse:
    """Answer a message, or the newest one received in a thread. Answers `queued` for every accepted message."""
    parent = _parent(request.auth, body)
    return _reply(request, mailbox_named(request.auth, parent.mailbox_id), parent, body, flat=True)


def reply_by_id(request: KeyedRequest, email: str, body: ReplyFromIn) -> HttpResponse:
    """Answer the message of this id. Answers `queued` for every accepted message."""
    named = body.names_mailbox()
    parent = email_named(request.auth, email, mailbox=_mailbox(request.auth, named) if named else None)
    return _reply(request, mailbox_named(request.auth, parent.mailbox_id), parent, body, flat=True)


def _mailbox(key: ApiKey, name: str) -> Mailbox:
    return mailbox_named(key, bare_address(name))


def _parent(key: ApiKey, body: FlatReplyIn) -> Email:
    box: Mailbox | None = None
    if body.names_mailbox():
        box = _mailbox(key, body.names_mailbox())
    if not body.names_email():
        return newest_in_thread(key, body.thread_id, mailbox=box)
    parent = email_named(key, body.names_email(), mailbox=box)
    if body.thread_id and parent.thread_id != body.thread_id:
        raise Invalid("thread_id: is not the thread of the message that is named beside it.", field="thread_id")
    return parent


def _reply(request: KeyedRequest, mailbox: Mailbox, parent: Email, body: ReplyIn, *, flat: bool) -> HttpResponse:
    check_may_read(request.auth, parent)
    letter = body.letter(parent=parent, header_key=header_key(request))
    return accept(request, mailbox, letter, flat=flat)
