"""Facts that are checked with one message, which a sandbox mailbox sends to itself, in
the order of SANDBOX_FACTS: send, decide, read.

The message is rejected, never approved. There are two keys, one that sends and one that
decides; both begin with mm_test_.
"""

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from common.exchange import Answer
from common.unique_keys import text_in
from connections.hosted.probe import (
    Facts,
    Host,
    NotSeen,
    names,
    parsed,
    rows_in,
    without,
)
from upstream.refused_fields import refused_fields

# The two kinds of keys.
AGENT = "sandbox agent"
OVERSIGHT = "sandbox oversight"
# Within this time a message has to appear in the list of held messages.
SCAN_SECONDS = 30
_REASON = "Countersign hosted_check"
# A wrong fingerprint. Only our gateway compares it, and then refuses the decision.
_OTHER = "0" * 64


def _steps(host: Host) -> Iterator[str]:
    """Yield how each fact about a sent message differs; empty if it does not."""
    mailbox = host.rows(AGENT, "/v1/mailboxes")[0]
    if mailbox.get("oversight_mode") not in ("gated_all", "gated_send"):
        raise NotSeen("the first mailbox does not hold what it sends")
    mailbox_id = str(mailbox.get("id"))
    message = {
        "to": [mailbox.get("address")],
        "subject": "Countersign tries this account",
        "markdown": "Nobody has to answer this.",
        "idempotency_key": str(uuid4()),
    }

    def send() -> Answer:
        path = "/v1/mailboxes/{}/send"
        return host.call(AGENT, "POST", path, mailbox_id, body=message)

    def reject(email_id: str, kind: str = OVERSIGHT, **more: str) -> Answer:
        # Never approve: only the desk's own decisions may do that (promise P1).
        body = {"email_id": email_id, "action": "reject", **more}
        return host.call(kind, "POST", "/v1/oversight/decide", body=body)

    answer = send()
    body = parsed(answer) or {}
    email_id = text_in(body, "id")
    if answer.status == 202 and body.get("status") in ("pending_scan", "queued"):
        yield without(body, "id", "thread_id")
    else:
        yield f"answered {answer.status}, status {names([body.get('status')])}"
    if not email_id:
        raise NotSeen("no message was sent")

    body = parsed(send()) or {}
    if str(body.get("id")) == email_id:
        yield without(body, "idempotent")
    else:
        reject(str(body.get("id")))
        yield "another id"

    ends = time.monotonic() + SCAN_SECONDS
    while True:
        body = parsed(host.call(OVERSIGHT, "GET", "/v1/oversight/pending")) or {}
        is_held = any(str(row.get("id")) == email_id for row in rows_in(body))
        if is_held or time.monotonic() > ends:
            break
        time.sleep(1)
    yield "" if is_held else f"not after {SCAN_SECONDS} s"

    status = reject(email_id, AGENT).status
    yield "" if status == 403 else f"answered {status}"

    fields = {
        "reason": _REASON,
        "decided_by": "Countersign",
        "ended_by": "rule",
        "expected_fingerprint": _OTHER,
    }
    refused = set[str]()
    # Once more for each field that a hosted MultiMail may refuse.
    for _ in range(len(fields) + 1):
        answer = reject(email_id, **fields)
        body = parsed(answer) or {}
        refused_now = refused_fields(fields, body) if answer.status == 422 else ()
        if body.get("code") == "content_changed":
            refused_now = ("expected_fingerprint",)
        if not refused_now:
            break
        refused.update(refused_now)
        fields = {
            name: text for name, text in fields.items() if name not in refused_now
        }
    if answer.status != 200:
        raise NotSeen(f"the rejection answered {answer.status}")
    yield names(refused - {"reason"})
    yield "it is refused" if "reason" in refused else ""
    yield "" if body.get("status") == "rejected" else names([body.get("status")])

    answer = reject(email_id)
    conflict = parsed(answer) or {}
    yield "" if answer.status == 409 else f"answered {answer.status}"
    yield without(conflict, "status", "decision")
    read = host.object(AGENT, "/v1/mailboxes/{}/emails/{}", mailbox_id, email_id)
    told = [
        str(one.get(name))
        for one in (read, conflict)
        for name in ("reason", "decision_reason")
    ]
    yield "" if any(_REASON in one for one in told) else "neither has it"


def next_step(host: Host) -> str:
    """Take the next of the steps."""
    host.steps = host.steps or _steps(host)
    try:
        return next(host.steps)
    except StopIteration:
        raise NotSeen("an earlier step was not seen") from None


def check_flat_send(host: Host) -> str:
    status = host.call(AGENT, "POST", "/v1/send_email", body={}).status
    return "" if status in (400, 422) else f"answered {status}"


def check_marks(host: Host) -> str:
    mailbox = host.mailbox(AGENT)

    def unread() -> list[dict[str, Any]]:
        body = parsed(host.call(AGENT, "GET", "/v1/mailboxes/{}/emails", mailbox)) or {}
        return [
            row for row in body.get("emails") or [] if row.get("status") == "unread"
        ]

    row = next(iter(unread()), None)
    if row is None:
        raise NotSeen("the sandbox mailbox has no unread message")
    thread = str(row.get("thread_id"))
    host.call(AGENT, "GET", "/v1/mailboxes/{}/threads/{}", mailbox, thread)
    if row not in unread():
        return "its thread marked it"
    host.call(AGENT, "GET", "/v1/mailboxes/{}/emails/{}", mailbox, str(row.get("id")))
    return "a single read did not mark it" if row in unread() else ""


SANDBOX_FACTS: Facts = {
    "Sending and replying": {
        "A send is 202 with id, thread_id and the status pending_scan or queued.": next_step,
        "POST /v1/send_email is there: an empty one is 400 or 422.": check_flat_send,
    },
    "Idempotency": {
        "A send with the same idempotency_key answers the first id, and idempotent.": next_step
    },
    "Deciding": {
        "What a gated mailbox sends comes to the pending list.": next_step,
        "An agent's key cannot decide: 403.": next_step,
        "Fields of a decision that only our gateway knows are ignored.": next_step,
        "A decision takes a reason.": next_step,
        "A rejection answers the status rejected.": next_step,
        "A second decision is 409.": next_step,
        "That 409 has status and decision.": next_step,
        "The reason comes back, in that 409 or when the message is read.": next_step,
    },
    "Reading": {
        "A single read marks received mail as read, its thread and lists do not.": check_marks
    },
}
