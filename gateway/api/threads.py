"""Conversations: all messages that answer one another."""

from typing import Any

from django.http import HttpResponse
from ninja import Router

from gateway import reading
from gateway.answers.base import answer, documented
from gateway.answers.threads import Thread
from gateway.auth import KeyedRequest, needs
from gateway.errors import Invalid, NotFound
from gateway.lookups import mailbox_named, thread_named
from gateway.models import ApiKey, Email, Mailbox
from gateway.models.accounts import Scope
from gateway.states import Direction, Status
from gateway.timestamps import iso

router = Router(tags=["messages"])

MOST = 500
# Each of these may be as long as a letter can be.
MOST_BODIES = 50
# What was written as an answer and will never be one.
_CAME_TO_NOTHING = (Status.REJECTED, Status.CANCELLED, Status.SEND_FAILED)


@router.get("/mailboxes/{mailbox}/threads/{thread}", auth=needs(Scope.READ), response=documented(Thread))
def read_thread(request: KeyedRequest, mailbox: str, thread: str, bodies: bool = False) -> HttpResponse:
    """List a thread, oldest first; with `bodies` the newest letters, and what they say. Nothing is marked read."""
    return _thread(request.auth, thread, mailbox_named(request.auth, mailbox), flat=False, bodies=bodies)


def read_thread_flat(request: KeyedRequest, thread_id: str = "", mailbox: str = "") -> HttpResponse:
    """List a thread, oldest first, by its id alone; `to` is text."""
    if not thread_id:
        raise Invalid("thread_id: say which thread.", field="thread_id")
    box = mailbox_named(request.auth, mailbox) if mailbox else None
    return _thread(request.auth, thread_id, box, flat=True)


def _thread(key: ApiKey, thread_id: str, mailbox: Mailbox | None, *, flat: bool, bodies: bool = False) -> HttpResponse:
    found, most = thread_named(key, thread_id, mailbox=mailbox), MOST_BODIES if bodies else MOST
    emails = list(found[: most + 1])
    if not emails:
        raise NotFound("There is no such thread in this account.", code="unknown_thread")
    cut = len(emails) > most
    count = found.count() if cut else len(emails)
    emails = emails[:most][::-1]
    told: dict[str, Any] = {
        "thread_id": thread_id,
        "message_count": count,
        "participants": _participants(emails),
        "last_activity": iso(emails[-1].created_at),
        "has_unanswered_inbound": _waits_for_an_answer(emails),
        "truncated": cut,
        "emails": [reading.row(key, email, flat=flat) | (_body(key, email) if bodies else {}) for email in emails],
    }
    return answer(told)


def _body(key: ApiKey, email: Email) -> dict[str, Any]:
    """Return what a letter says, to whoever may read it."""
    return {"markdown": email.markdown, "html_body": email.html} if reading.may_read(key, email) else {}


def _participants(emails: list[Email]) -> list[str]:
    """Return who wrote and who was written to openly, in the order in which they came in."""
    return list(dict.fromkeys(one for email in emails for one in (email.from_address, *email.to, *email.cc) if one))


def _waits_for_an_answer(emails: list[Email]) -> bool:
    """Whether the last word is theirs. An answer that waits for approval counts: a second one must not be written."""
    words = [email for email in emails if email.status not in _CAME_TO_NOTHING]
    return bool(words) and words[-1].direction == Direction.INBOUND
