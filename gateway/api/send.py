"""Sending: the current dialect by mailbox path, and the flat one with the sender in the body."""

from django.http import HttpResponse
from ninja import Router

from gateway.answers.base import documented
from gateway.answers.messages import Sent
from gateway.api.accepting import accept, header_key
from gateway.auth import KeyedRequest, needs
from gateway.lookups import mailbox_named, mailbox_named_or_only
from gateway.models.accounts import Scope
from gateway.schemas.send import SendIn

router = Router(tags=["send"])


@router.post("/mailboxes/{mailbox}/send", auth=needs(Scope.SEND), response=documented(Sent, status=202, also=(200,)))
def send(request: KeyedRequest, mailbox: str, body: SendIn) -> HttpResponse:
    """Send a message from a mailbox. Gated mailboxes hold it for review."""
    box = mailbox_named(request.auth, mailbox)
    return accept(request, box, body.letter(header_key=header_key(request)), flat=False)


def send_flat(request: KeyedRequest, body: SendIn) -> HttpResponse:
    """Send a message; `from` names the mailbox. Answers `queued` for every accepted message."""
    box = mailbox_named_or_only(request.auth, body.names_mailbox())
    return accept(request, box, body.letter(header_key=header_key(request)), flat=True)
