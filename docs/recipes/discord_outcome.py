"""Tells the Discord channel in which a message began what became of it.

Needs requests, check_signature.py in the same folder with its variables, and
DISCORD_TOKEN, of a bot that may post in these channels. Register its address for the
events email.decided, message.delivered, message.bounced and message.failed.
"""

import os
import time
from typing import Any

import requests
from check_signature import serve

DISCORD = os.environ.get("DISCORD_API_URL", "https://discord.com/api/v10")
TOKEN = os.environ["DISCORD_TOKEN"]


def told(event: dict[str, Any]) -> str:
    """What the channel reads: who decided what and why, or whether it arrived."""
    what = event["event"].partition(".")[2]
    if what == "decided":
        what = f"{event['decision']} by {event['decided_by']}"
        if event["reason"]:
            what += f"\n> {event['reason']}"
    elif what == "delivered" and event["sandbox"]:
        what = "test: recorded, not sent"
    return f"“{event['subject'][:200]}” to {event['to'][:200]}: {what}"


def post(event: dict[str, Any]) -> None:
    """Post in the channel that the bot or the command named by its id."""
    channel = str(event["metadata"].get("discord_channel", ""))
    if not channel.isdecimal():
        return
    # Senders and reviewers wrote these words: they may ping nobody.
    message = {"content": told(event)[:2000], "allowed_mentions": {"parse": []}}
    for _ in range(5):
        answer = requests.post(
            f"{DISCORD}/channels/{channel}/messages",
            json=message,
            headers={"Authorization": f"Bot {TOKEN}"},
            timeout=30,
        )
        if answer.status_code != 429:
            print(event["event"], event["message_id"], answer.status_code, flush=True)
            return
        time.sleep(float(answer.headers.get("Retry-After", 5)))


serve(post)
