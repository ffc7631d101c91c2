"""Prints what is unread and what waits for review, for a cron job in the morning.

Needs requests and these variables: GATEWAY_URL, MAILBOX_ADDRESS, READ_KEY (scope read),
OVERSIGHT_KEY (scope oversight_read or oversight). With DISCORD_WEBHOOK_URL, an incoming
webhook of a channel, it is posted there as well.
"""

import os
from typing import Any

import requests

GATEWAY_URL = os.environ["GATEWAY_URL"]
MAILBOX = os.environ["MAILBOX_ADDRESS"]
SHOWN = 10


def rows(path: str, array: str, key: str) -> list[dict[str, Any]]:
    """All rows of a list, page by page."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        asked = {"mailbox": MAILBOX, "limit": "100", "cursor": cursor}
        headers = {"Authorization": f"Bearer {key}"}
        response = requests.get(
            GATEWAY_URL + path, params=asked, headers=headers, timeout=30
        )
        answer = response.json()
        if not response.ok:
            raise SystemExit(answer["error"])
        found += answer[array]
        cursor = answer["cursor"]
        if not cursor:
            return found


def section(title: str, messages: list[dict[str, Any]], whom: str) -> str:
    """One part of the digest. Lists do not mark anything as read."""
    lines = [
        f"- {message['subject'] or '(no subject)'} ({message[whom]})"
        for message in messages[:SHOWN]
    ]
    more = [f"- and {len(messages) - SHOWN} more"] if len(messages) > SHOWN else []
    return "\n".join([f"{title}: {len(messages)}", *lines, *more])


unread = rows("/v1/check_inbox", "emails", os.environ["READ_KEY"])
pending = rows("/v1/list_pending", "messages", os.environ["OVERSIGHT_KEY"])
digest = "\n\n".join(
    [
        section("Unread", unread, "from"),
        section("Waiting for review, oldest first", pending, "to"),
    ]
)
print(digest)

if url := os.environ.get("DISCORD_WEBHOOK_URL"):
    # Subjects are written by strangers: they may ping nobody.
    message = {"content": digest[:2000], "allowed_mentions": {"parse": []}}
    requests.post(url, json=message, timeout=30).raise_for_status()
