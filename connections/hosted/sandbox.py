"""The facts that one message shows which a sandbox mailbox sends to itself: sending,
deciding, reading, in this order.

The message is rejected. There are two keys, one that sends and one that decides; both
begin with mm_test_.
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

AGENT = "sandbox agent"
OVERSIGHT = "sandbox oversight"
# How long a message may take to the pending list.
SCAN_SECONDS = 30
_REASON = "Countersign hosted_check"
# The fingerprint of other content: only our gateway compares it, and refuses.
_OTHER = "0" * 64


def check_send(host: Host) -> str:
    box = host.rows(AGENT, "/v1/mailboxes")[0]
    if box.get("oversight_mode") not in ("gated_all", "gated_send"):
        raise NotSeen("the first mailbox does not hold what it sends")
    host.sent["body"] = {
        "to": [box.get("address")],
        "subject": "Countersign tries this account",
        "markdown": "Nobody has to answer this.",
        "idempotency_key": str(uuid4()),
    }
    answer = _post_message(host)
    found = parsed(answer) or {}
    host.sent["id"] = str(found.get("id") or "")
    if answer.status != 202 or found.get("status") not in ("pending_scan", "queued"):
        return f"answered {answer.status}, status {names([found.get('status')])}"
    return without(found, "id", "thread_id")


def check_flat_send(host: Host) -> str:
    status = host.call(AGENT, "POST", "/v1/send_email", body={}).status
    return "" if status in (400, 422) else f"answered {status}"


def _post_message(host: Host) -> Answer:
    path = "/v1/mailboxes/{}/send"
    return host.call(AGENT, "POST", path, host.mailbox(AGENT), body=host.sent["body"])


def _decide(host: Host, email_id: str, kind: str = OVERSIGHT, **more: str) -> Answer:
    """Reject, never approve: only the desk's own decisions may let a message go
    (promise P1).
    """
    body = {"email_id": email_id, "action": "reject", **more}
    return host.call(kind, "POST", "/v1/oversight/decide", body=body)


def _id(host: Host) -> str:
    if not host.sent.get("id"):
        raise NotSeen("no message was sent")
    return str(host.sent["id"])


def check_repeated_send(host: Host) -> str:
    first = _id(host)
    found = parsed(_post_message(host)) or {}
    if str(found.get("id")) == first:
        return without(found, "idempotent")
    # It must not stay held.
    _decide(host, str(found.get("id")))
    return "another id"


def check_held(host: Host) -> str:
    wanted = _id(host)
    ends = time.monotonic() + SCAN_SECONDS
    while True:
        found = parsed(host.call(OVERSIGHT, "GET", "/v1/oversight/pending")) or {}
        if any(str(row.get("id")) == wanted for row in rows_in(found)):
            return ""
        if time.monotonic() > ends:
            return f"not after {SCAN_SECONDS} s"
        time.sleep(1)


def check_agent(host: Host) -> str:
    status = _decide(host, _id(host), AGENT).status
    return "" if status == 403 else f"answered {status}"


def check_rejection(host: Host) -> str:
    """Reject with every field that the desk sends, and again without those that are
    refused.
    """
    fields = {
        "reason": _REASON,
        "decided_by": "Countersign",
        "expected_fingerprint": _OTHER,
    }
    refused = host.sent["refused"] = list[str]()
    for _ in range(len(fields) + 1):
        answer = _decide(host, _id(host), **fields)
        found = parsed(answer) or {}
        named = refused_fields(fields, found) if answer.status == 422 else ()
        if found.get("code") == "content_changed":
            named = ("expected_fingerprint",)
        if not named:
            break
        refused += named
        fields = {name: text for name, text in fields.items() if name not in named}
    if answer.status != 200:
        raise NotSeen(f"the rejection answered {answer.status}")
    host.sent["rejected"] = found
    return names({*refused} - {"reason"})


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
    for found in (read, host.sent.get("conflict") or {}):
        for name in ("reason", "decision_reason"):
            if _REASON in str(found.get(name)):
                return ""
    return "neither has it"


def check_marks(host: Host) -> str:
    box = host.mailbox(AGENT)

    def unread() -> list[dict[str, Any]]:
        found = parsed(host.call(AGENT, "GET", "/v1/mailboxes/{}/emails", box)) or {}
        return [
            row for row in found.get("emails") or [] if row.get("status") == "unread"
        ]

    row = next(iter(unread()), None)
    if row is None:
        raise NotSeen("the sandbox mailbox has no unread message")
    thread = str(row.get("thread_id"))
    host.call(AGENT, "GET", "/v1/mailboxes/{}/threads/{}", box, thread)
    if row not in unread():
        return "its thread marked it"
    host.call(AGENT, "GET", "/v1/mailboxes/{}/emails/{}", box, str(row.get("id")))
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
