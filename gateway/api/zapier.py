"""The dialect of MultiMail's Zapier app: messages by their ids under /v1/emails, with `to` as text. And spam.

Words such as `inbox` come before `{email}`, which would match them too.
"""

from django.http import HttpResponse
from ninja import Query, Router

from gateway import spam
from gateway.answers.base import answer, documented
from gateway.answers.messages import Decided, Message, Messages, PendingMessages, Sent, SpamLabel
from gateway.answers.tags import TagWords
from gateway.answers.threads import Thread
from gateway.api import emails, oversight, replies, send, tags, threads
from gateway.auth import KeyedRequest, needs
from gateway.filters import PendingFilters, SpamFilters, ZapierFilters
from gateway.lookups import email_named
from gateway.models.accounts import Scope
from gateway.schemas.oversight import Verdict
from gateway.schemas.replies import ReplyFromIn
from gateway.schemas.send import SendIn
from gateway.schemas.tags import TagsIn

router = Router(tags=["zapier"])

_SENT = documented(Sent, status=202, also=(200,))
_SEES_HELD = needs(Scope.OVERSIGHT, Scope.OVERSIGHT_READ)


@router.get("/emails", auth=needs(Scope.READ), response=documented(Messages))
def list_spam(request: KeyedRequest, filters: Query[SpamFilters]) -> HttpResponse:
    """List received mail of all mailboxes that was put away as spam; with `status` what has another one."""
    return emails.list_of_all(request, filters)


@router.post("/emails/send", auth=needs(Scope.SEND), response=_SENT)
def send_email(request: KeyedRequest, body: SendIn) -> HttpResponse:
    """Send a message; `mailbox` names the sender. Answers `queued` for every accepted message."""
    return send.send_flat(request, body)


@router.get("/emails/inbox", auth=needs(Scope.READ), response=documented(Messages))
def check_inbox(request: KeyedRequest, filters: Query[ZapierFilters]) -> HttpResponse:
    """List received mail, read or not."""
    return emails.check_inbox(request, filters)


@router.get("/emails/pending", auth=_SEES_HELD, response=documented(PendingMessages))
def list_pending(request: KeyedRequest, filters: Query[PendingFilters]) -> HttpResponse:
    """List held messages, oldest first."""
    return oversight.list_pending_flat(request, filters)


@router.get("/emails/thread/{thread}", auth=needs(Scope.READ), response=documented(Thread))
def read_thread(request: KeyedRequest, thread: str) -> HttpResponse:
    """List a thread, oldest first."""
    return threads.read_thread_flat(request, thread_id=thread)


@router.get("/emails/{email}", auth=needs(Scope.READ), response=documented(Message))
def read_email(request: KeyedRequest, email: str) -> HttpResponse:
    """Read one message whole. An unread one is read from then on."""
    return emails.read_flat(request, id=email)


@router.post("/emails/{email}/reply", auth=needs(Scope.SEND), response=_SENT)
def reply(request: KeyedRequest, email: str, body: ReplyFromIn) -> HttpResponse:
    """Answer a message. Answers `queued` for every accepted message."""
    return replies.reply_by_id(request, email, body)


@router.post("/emails/{email}/tag", auth=needs(Scope.SEND), response=documented(TagWords))
def tag(request: KeyedRequest, email: str, body: TagsIn) -> HttpResponse:
    """Add tags to a message; the answer lists their names."""
    return tags.tag_by_id(request, email, body)


@router.post("/emails/{email}/decide", auth=needs(Scope.OVERSIGHT), response=documented(Decided))
@router.patch(
    "/emails/{email}/decide", auth=needs(Scope.OVERSIGHT), response=documented(Decided), operation_id="decide_by_patch"
)
def decide_email(request: KeyedRequest, email: str, body: Verdict) -> HttpResponse:
    """Approve or reject a held message."""
    return oversight.decide_by_id(request, email, body)


@router.post("/emails/{email}/report-spam", auth=needs(Scope.SEND), response=documented(SpamLabel))
def report_spam(request: KeyedRequest, email: str) -> HttpResponse:
    """Put a received message away as spam."""
    return _label(request, email, spam.SPAM)


@router.post("/emails/{email}/not-spam", auth=needs(Scope.SEND), response=documented(SpamLabel))
def not_spam(request: KeyedRequest, email: str) -> HttpResponse:
    """Bring a message back that was put away as spam."""
    return _label(request, email, spam.NOT_SPAM)


def _label(request: KeyedRequest, email: str, user_label: str) -> HttpResponse:
    found = spam.label(key=request.auth, email=email_named(request.auth, email), user_label=user_label)
    return answer({"id": found.pk, "email_id": found.pk, "status": found.status, "user_label": found.user_label})
