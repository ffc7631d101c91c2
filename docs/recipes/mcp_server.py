"""An MCP server with tools for a model that sends, answers, reads and takes back mail.
It speaks JSON-RPC over stdio.

Needs requests and these variables: GATEWAY_URL, AGENT_KEY (scopes read and send) and
MAILBOX_ADDRESS.
"""

import hashlib
import json
import os
import sys
import time
from typing import Any
from urllib.parse import quote

import requests

MAILBOX_URL = (
    f"{os.environ['GATEWAY_URL']}/v1/mailboxes/{quote(os.environ['MAILBOX_ADDRESS'])}"
)
VERSIONS = ("2025-06-18", "2025-03-26", "2024-11-05")
TEXT = {"type": "string"}


def tool(
    name: str, description: str, required: list[str], **properties: Any
) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required}
    return {"name": name, "description": description, "inputSchema": schema}


TOOLS = [
    tool(
        "send_email",
        "Send an email. A person may have to approve it first: then oversight_status is pending_approval. That is "
        "success, not an error. Never send the message again because of it; use read_email to see the decision.",
        ["to", "subject", "markdown"],
        to={"type": "array", "items": TEXT},
        subject=TEXT,
        markdown=TEXT,
    ),
    tool(
        "reply_email",
        "Answer an email in its thread. As with send_email, a person may have to approve it first.",
        ["id", "markdown"],
        id=TEXT,
        markdown=TEXT,
    ),
    tool(
        "wait_for_decision",
        "Wait up to 45 seconds for a person to decide about a message that was sent; call again to wait on.",
        ["id"],
        id=TEXT,
    ),
    tool(
        "withdraw_email", "Take a message back that has not left yet.", ["id"], id=TEXT
    ),
    tool(
        "read_email",
        "Read one message: its text, and for a sent one its status and decision.",
        ["id"],
        id=TEXT,
    ),
    tool(
        "read_thread",
        "List a conversation, oldest first, without texts.",
        ["thread_id"],
        thread_id=TEXT,
    ),
    tool("check_inbox", "List unread mail, without texts.", []),
]
WAITS = ("pending_scan", "pending_send_approval")


def call(method: str, path: str, **options: Any) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {os.environ['AGENT_KEY']}"}
    response = requests.request(
        method, MAILBOX_URL + path, headers=headers, timeout=30, **options
    )
    answer: dict[str, Any] = response.json()
    if response.status_code == 429:
        answer["hint"] = f"Wait {response.headers.get('Retry-After', 'some')} seconds."
    if not response.ok:
        raise RuntimeError(
            " ".join(filter(None, [answer["error"], answer.get("hint")]))
        )
    return answer


def part(text: str) -> str:
    return quote(text, safe="")


def write(path: str, letter: dict[str, Any]) -> dict[str, Any]:
    # A model that repeats itself gets the first message back, for 24 hours; one that
    # was taken back does not count.
    digest = hashlib.sha256(
        json.dumps([path, letter], sort_keys=True).encode()
    ).hexdigest()
    number = 0
    while True:
        key = f"mcp-{digest}-{number}"
        answer = call("POST", path, json=letter | {"idempotency_key": key})
        if answer.get("current", {}).get("status") != "cancelled":
            return answer
        number += 1


def wait_for_decision(email_id: str) -> dict[str, Any]:
    ends = time.monotonic() + 45
    while (email := call("GET", f"/emails/{email_id}"))[
        "status"
    ] in WAITS and time.monotonic() < ends:
        time.sleep(2)
    return {
        name: email[name]
        for name in ("id", "status", "decision", "decision_reason", "decided_by")
    }


def use(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Do what a tool is for."""
    if name == "send_email":
        return write(
            "/send", {field: given[field] for field in ("to", "subject", "markdown")}
        )
    if name == "reply_email":
        return write(f"/reply/{part(given['id'])}", {"markdown": given["markdown"]})
    if name == "wait_for_decision":
        return wait_for_decision(part(given["id"]))
    if name == "withdraw_email":
        return call("POST", f"/emails/{part(given['id'])}/cancel")
    if name == "read_email":
        return call("GET", f"/emails/{part(given['id'])}")
    if name == "read_thread":
        return call("GET", f"/threads/{part(given['thread_id'])}")
    if name == "check_inbox":
        return call(
            "GET", "/emails", params={"status": "unread", "direction": "inbound"}
        )
    raise RuntimeError(f"There is no tool named {name}.")


def result_of(asked: dict[str, Any]) -> dict[str, Any] | None:
    """Return the answer to a request of the client; None for a method that is not
    known.
    """
    given = asked.get("params") or {}
    if asked["method"] == "initialize":
        wanted = given.get("protocolVersion")
        return {
            "protocolVersion": wanted if wanted in VERSIONS else VERSIONS[0],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "mail", "version": "1"},
        }
    if asked["method"] == "tools/list":
        return {"tools": TOOLS}
    if asked["method"] == "tools/call":
        try:
            text, failed = (
                json.dumps(use(given["name"], given.get("arguments") or {}), indent=2),
                False,
            )
        except requests.RequestException:
            text, failed = (
                "The gateway did not answer. Call again with the same values: nothing is sent twice.",
                True,
            )
        except KeyError as error:
            text, failed = f"The argument {error} is missing.", True
        except (TypeError, AttributeError):
            text, failed = "An argument has the wrong type.", True
        except RuntimeError as error:
            text, failed = str(error), True
        return {"content": [{"type": "text", "text": text}], "isError": failed}
    return {} if asked["method"] == "ping" else None


for line in sys.stdin:
    try:
        asked = json.loads(line)
    except ValueError:
        print(
            "What came is not JSON:", line[:80], file=sys.stderr
        )  # not to stdout, which belongs to the protocol
        continue
    if not isinstance(asked, dict) or "id" not in asked or "method" not in asked:
        continue  # a notification, which is never answered
    result = result_of(asked)
    unknown = {"error": {"code": -32601, "message": "Method not found"}}
    print(
        json.dumps(
            {
                "jsonrpc": "2.0",
                "id": asked["id"],
                **({"result": result} if result is not None else unknown),
            }
        ),
        flush=True,
    )
