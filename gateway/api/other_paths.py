"""Other paths to the same calls: the flat dialect (one path for each verb, with and
without /v1), and the paths of Zapier's app, with reports of spam.

Routes of MultiMail that the gateway does not have answer 501 and say what to use
instead.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.http import JsonResponse
from django.http.response import HttpResponseBase
from django.urls import path
from ninja import Router

from common.unique_keys import Json
from gateway.api import mailboxes, messages, oversight, sending
from gateway.api.answers import (
    BY_OPERATOR,
    Changed,
    Decided,
    Message,
    Messages,
    PendingMessages,
    TagWords,
    Thread,
    not_offered,
)
from gateway.api.oversight import Verdict
from gateway.api.sending import SENT, ReplyFromIn
from gateway.auth import ADMIN, OVERSIGHT, READ, SEES_HELD, SEND, KeyedRequest
from gateway.lookups import email_named
from gateway.messages import labels

# Method, path, check of the key, documented answers, handler.
_Calls = tuple[tuple[str, str, Any, Any, Callable[..., Json | HttpResponseBase]], ...]
_FLAT: _Calls = (
    ("POST", "/send_email", SEND, SENT, sending.send_flat),
    ("POST", "/send", SEND, SENT, sending.send_flat),
    ("POST", "/reply_email", SEND, SENT, sending.reply_flat),
    ("GET", "/check_inbox", READ, Messages, messages.check_inbox),
    ("GET", "/inbox", READ, Messages, messages.check_inbox),
    ("GET", "/read_email", READ, Message, messages.read_flat),
    ("GET", "/get_thread", READ, Thread, messages.read_thread_flat),
    ("POST", "/tag_email", SEND, TagWords, messages.tag_flat),
    ("POST", "/cancel_message", SEND, Changed, messages.cancel_flat),
    ("GET", "/list_pending", SEES_HELD, PendingMessages, oversight.list_pending),
    ("POST", "/decide_email", OVERSIGHT, Decided, oversight.decide_email),
    ("POST", "/create_mailbox", ADMIN, mailboxes.MADE, mailboxes.create_mailbox),
)
_ZAPIER: _Calls = (
    ("GET", "/emails", READ, Messages, messages.list_spam),
    ("POST", "/emails/send", SEND, SENT, sending.send_flat),
    ("GET", "/emails/inbox", READ, Messages, messages.check_zapier_inbox),
    ("GET", "/emails/pending", SEES_HELD, PendingMessages, oversight.list_pending),
    ("POST", "/emails/{email}/tag", SEND, TagWords, messages.tag_by_id),
)


def _router(tag: str, calls: _Calls, *, listed: bool = True) -> Router:
    router = Router(tags=[tag])
    for method, route, auth, response, handler in calls:
        router.api_operation(
            [method],
            route,
            auth=auth,
            response=response,
            # Second paths of check_inbox and send_email, which the document leaves out.
            include_in_schema=listed and route not in ("/inbox", "/send"),
        )(handler)
    return router


def flat_router(*, listed: bool) -> Router:
    """Return the flat routes; `listed` says whether the OpenAPI document names them."""
    return _router("flat", _FLAT, listed=listed)


router = _router("zapier", _ZAPIER)


@router.get("/emails/thread/{thread}", auth=READ, response=Thread)
def read_thread(request: KeyedRequest, thread: str) -> Json:
    """List a thread, oldest first."""
    return messages.read_thread_flat(request, thread_id=thread)


@router.get("/emails/{email}", auth=READ, response=Message)
def read_email(request: KeyedRequest, email: str) -> Json:
    """Read one message whole. An unread one is read from then on."""
    return messages.read_flat(request, id=email)


@router.post("/emails/{email}/reply", auth=SEND, response=SENT)
def reply(request: KeyedRequest, email: str, body: ReplyFromIn) -> JsonResponse:
    """Reply to a message. The status is `queued` for every accepted message."""
    return sending.reply_to(request, email, body)


@router.post("/emails/{email}/decide", auth=OVERSIGHT, response=Decided)
@router.patch(
    "/emails/{email}/decide",
    auth=OVERSIGHT,
    response=Decided,
    operation_id="zapier_decide_by_patch",
)
def decide_email(request: KeyedRequest, email: str, body: Verdict) -> Json:
    """Approve or reject a held message."""
    return oversight.decide(request, email, body)


@router.post("/emails/{email}/report-spam", auth=SEND, response=Changed)
@router.post(
    "/emails/{email}/not-spam",
    auth=SEND,
    response=Changed,
    operation_id="zapier_not_spam",
)
def report_spam(request: KeyedRequest, email: str) -> Json:
    """Put a received message away as spam, or bring it back."""
    is_spam = request.path_info.endswith("/report-spam")
    user_label = labels.SPAM if is_spam else labels.NOT_SPAM
    labelled = labels.label(request.auth, email_named(request.auth, email), user_label)
    return labelled.ids() | {"status": labelled.status, "user_label": user_label}


# What to use instead, by path.
_NOT_OFFERED = {
    "v1/billing/<path:rest>": "It is self-hosted, so there is no billing.",
    "v1/export": "Use the account's lists instead.",
    "v1/account/challenge": BY_OPERATOR,
    "v1/account/resend-confirmation": BY_OPERATOR,
    "v1/confirm": BY_OPERATOR,
    "v1/slug-check/<str:slug>": BY_OPERATOR,
    "agent/auth": BY_OPERATOR,
    "agent/auth/<path:rest>": BY_OPERATOR,
    "v1/account/did-challenge": "It binds no DID: `ucan` of a message is sent as X-Agent-Identity and not checked.",
    "v1/operator/<path:rest>": "It has no operator sessions: an act that needs an operator is repeated with an "
    "approval_code, which ./run manage gateway_codes shows to its operator.",
    "v1/support": "Ask its operator; POST /v1/feedback leaves a report for them.",
    "v1/approve/<str:token>": "Decide with POST /v1/oversight/decide.",
}
urlpatterns = [
    path(route, partial(not_offered, instead=instead))
    for route, instead in _NOT_OFFERED.items()
]
