"""Changing a message that waits for its time."""

from django.http import HttpResponse
from django.utils import timezone
from ninja import Router

from gateway import reschedule, shapes
from gateway.answers.base import answer, documented
from gateway.answers.messages import Message
from gateway.auth import KeyedRequest, needs
from gateway.lookups import email_named, mailbox_named
from gateway.models.accounts import Scope
from gateway.schemas.schedule import EditIn

router = Router(tags=["send"])


@router.patch("/mailboxes/{mailbox}/emails/{email}/schedule", auth=needs(Scope.SEND), response=documented(Message))
def edit_scheduled(request: KeyedRequest, mailbox: str, email: str, body: EditIn) -> HttpResponse:
    """Change a scheduled message. Of an approved one only the time can be moved."""
    box = mailbox_named(request.auth, mailbox)
    found = email_named(request.auth, email, mailbox=box)
    reschedule.edit_scheduled(key=request.auth, email=found, edit=body.edit(), now=timezone.now())
    return answer(shapes.full(email_named(request.auth, email, mailbox=box), text_body=False))
