"""The flat dialect: one path a verb. It is served bare and under /v1; both are the same functions."""

from ninja import Router

from gateway.answers.base import Changed, documented
from gateway.answers.messages import Decided, Message, Messages, PendingMessages, Sent
from gateway.answers.tags import TagWords
from gateway.answers.threads import Thread
from gateway.api import emails, mailboxes, oversight, replies, send, tags, threads
from gateway.auth import needs
from gateway.models.accounts import Scope


def flat_router(*, listed: bool) -> Router:
    """Return the flat routes; `listed` says whether the OpenAPI document names them."""
    router = Router(tags=["flat"])
    read, may_see = needs(Scope.READ), needs(Scope.OVERSIGHT, Scope.OVERSIGHT_READ)
    sent = documented(Sent, status=202, also=(200,))
    router.post("/send_email", auth=needs(Scope.SEND), response=sent, include_in_schema=listed)(send.send_flat)
    router.post("/reply_email", auth=needs(Scope.SEND), response=sent, include_in_schema=listed)(replies.reply_flat)
    for path in ("/check_inbox", "/inbox"):
        shown = listed and path == "/check_inbox"
        router.get(path, auth=read, response=documented(Messages), include_in_schema=shown)(emails.check_inbox)
    router.get("/read_email", auth=read, response=documented(Message), include_in_schema=listed)(emails.read_flat)
    router.get("/get_thread", auth=read, response=documented(Thread), include_in_schema=listed)(
        threads.read_thread_flat
    )
    router.post("/tag_email", auth=needs(Scope.SEND), response=documented(TagWords), include_in_schema=listed)(
        tags.tag_flat
    )
    router.post("/cancel_message", auth=needs(Scope.SEND), response=documented(Changed), include_in_schema=listed)(
        emails.cancel_flat
    )
    router.get("/list_pending", auth=may_see, response=documented(PendingMessages), include_in_schema=listed)(
        oversight.list_pending_flat
    )
    router.post("/decide_email", auth=needs(Scope.OVERSIGHT), response=documented(Decided), include_in_schema=listed)(
        oversight.decide_flat
    )
    router.post(
        "/create_mailbox",
        auth=needs(Scope.ADMIN),
        response=mailboxes.MADE,
        include_in_schema=listed,
        # The function is that of the current dialect too, and the document wants an id for each call.
        operation_id="create_mailbox_flat",
    )(mailboxes.create_mailbox)
    return router
