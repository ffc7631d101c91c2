"""Facts that are checked with one message, which a sandbox mailbox sends to itself. The
checks run in the order of SANDBOX_FACTS and build on each other: send, decide, read.

The message is rejected, never approved. There are two keys, one that sends and one that
decides; both begin with mm_test_.
"""

import time
from typing import Any
from uuid import uuid4

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
from upstream.wire import Answer

# The two kinds of keys.
AGENT = "sandbox agent"
OVERSIGHT = "sandbox oversight"
# Within this time a message has to appear in the list of held messages.
SCAN_SECONDS = 30
_REASON = "Countersign hosted_check"
# A wrong fingerprint. Only our gateway compares it, and then refuses the decision.
_OTHER = "0" * 64


def check_send(host: Host) -> str:
    mailbox = host.rows(AGENT, "/v1/mailboxes")[0]
    if mailbox.get("oversight_mode") not in ("gated_all", "gated_send"):
        raise NotSeen("the first mailbox does not hold what it sends")
    host.sent["body"] = {
        "to": [mailbox.get("address")],
        "subject": "Countersign tries this account",
        "markdown": "Nobody has to answer this.",
        "idempotency_key": str(uuid4()),
    }
    answer = _post_message(host)
    body = parsed(answer) or {}
    host.sent["id"] = str(body.get("id") or "")
    if answer.status != 202 or body.get("status") not in ("pending_scan", "queued"):
        return f"answered {answer.status}, status {names([body.get('status')])}"
    return without(body, "id", "thread_id")


def check_flat_send(host: Host) -> str:
    status = host.call(AGENT, "POST", "/v1/send_email", body={}).status
    return "" if status in (400, 422) else f"answered {status}"


def _post_message(host: Host) -> Answer:
    path = "/v1/mailboxes/{}/send"
    return host.call(AGENT, "POST", path, host.mailbox(AGENT), body=host.sent["body"])


def _decide(host: Host, email_id: str, kind: str = OVERSIGHT, **more: str) -> Answer:
    """Reject a message, and return the answer. Never approve one: only the desk's own
    decisions may do that (promise P1).
    """
    body = {"email_id": email_id, "action": "reject", **more}
    return host.call(kind, "POST", "/v1/oversight/decide", body=body)


# Returns the id of the message that check_send sent.
def _id(host: Host) -> str:
    if not host.sent.get("id"):
        raise NotSeen("no message was sent")
    return str(host.sent["id"])


def check_repeated_send(host: Host) -> str:
    first = _id(host)
    body = parsed(_post_message(host)) or {}
    if str(body.get("id")) == first:
        return without(body, "idempotent")
    # A second message was made: reject it, so that it does not stay held.
    _decide(host, str(body.get("id")))
    return "another id"


# The message appears in the list of held messages within SCAN_SECONDS.
def check_held(host: Host) -> str:
    wanted = _id(host)
    ends = time.monotonic() + SCAN_SECONDS
    while True:
        body = parsed(host.call(OVERSIGHT, "GET", "/v1/oversight/pending")) or {}
        if any(str(row.get("id")) == wanted for row in rows_in(body)):
            return ""
        if time.monotonic() > ends:
            return f"not after {SCAN_SECONDS} s"
        time.sleep(1)


def check_agent(host: Host) -> str:
    status = _decide(host, _id(host), AGENT).status
    return "" if status == 403 else f"answered {status}"


def check_rejection(host: Host) -> str:
    """Reject the message with every field that the desk sends. If fields are refused,
    repeat it without these, and return their names, except `reason`.
    """
    fields = {
        "reason": _REASON,
        "decided_by": "Countersign",
        "expected_fingerprint": _OTHER,
    }
    refused = host.sent["refused"] = list[str]()
    for _ in range(len(fields) + 1):
        answer = _decide(host, _id(host), **fields)
        body = parsed(answer) or {}
        refused_now = refused_fields(fields, body) if answer.status == 422 else ()
        if body.get("code") == "content_changed":
            refused_now = ("expected_fingerprint",)
        if not refused_now:
            break
        refused += refused_now
        fields = {
            name: text for name, text in fields.items() if name not in refused_now
        }
    if answer.status != 200:
        raise NotSeen(f"the rejection answered {answer.status}")
    host.sent["rejected"] = body
    return names({*refused} - {"reason"})


# Returns MultiMail's answer to the rejection. Raises NotSeen if there was none.
def _rejected(host: Host) -> dict[str, Any]:
    if "rejected" not in host.sent:
        raise NotSeen("nothing was rejected")
    return dict(host.sent["rejected"])


def check_reason(host: Host) -> str:
    _rejected(host)
    return "it is refused" if "reason" in host.sent["refused"] else ""


def check_word(host: Host) -> str:
    word = _rejected(host).get("status")
    return "" if word == "rejected" else names([word])


def check_second_decision(host: Host) -> str:
    _rejected(host)
    answer = _decide(host, _id(host))
    host.sent["conflict"] = parsed(answer) or {}
    return "" if answer.status == 409 else f"answered {answer.status}"


def check_conflict(host: Host) -> str:
    if "conflict" not in host.sent:
        raise NotSeen("there was no second decision")
    return without(host.sent["conflict"], "status", "decision")


def check_reason_back(host: Host) -> str:
    _rejected(host)
    path = "/v1/mailboxes/{}/emails/{}"
    read = host.object(AGENT, path, host.mailbox(AGENT), _id(host))
    for body in (read, host.sent.get("conflict") or {}):
        for name in ("reason", "decision_reason"):
            if _REASON in str(body.get(name)):
                return ""
    return "neither has it"


# Reads the thread of an unread message, then the message itself.
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
        "A send is 202 with id, thread_id and the status pending_scan or queued.": check_send,
        "POST /v1/send_email is there: an empty one is 400 or 422.": check_flat_send,
    },
    "Idempotency": {
        "A send with the same idempotency_key answers the first id, and idempotent.": check_repeated_send,
    },
    "Deciding": {
        "What a gated mailbox sends comes to the pending list.": check_held,
        "An agent's key cannot decide: 403.": check_agent,
        "Fields of a decision that only our gateway knows are ignored.": check_rejection,
        "A decision takes a reason.": check_reason,
        "A rejection answers the status rejected.": check_word,
        "A second decision is 409.": check_second_decision,
        "That 409 has status and decision.": check_conflict,
        "The reason comes back, in that 409 or when the message is read.": check_reason_back,
    },
    "Reading": {
        "A single read marks received mail as read, its thread and lists do not.": check_marks,
    },
}
