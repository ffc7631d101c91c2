"""Inngest's event API as it is documented: `POST /e/<event key>` with one event or a list of them."""

import json
import secrets
from typing import Any

from demo.programs.record import Record
from demo.web import Answer, Request, json_answer

# The dev server of Inngest takes any key; this one takes those that could be one.
MAX_BODY = 512 * 1024
MAX_NAME = 256


def take_events(record: Record, request: Request) -> Answer:
    """Take the events in and answer with an id for each; 400 and 413 as Inngest says them."""
    if len(request.body) > MAX_BODY:
        return _refused(413, "Event payload is too large")
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        return _refused(400, "Unable to process request: invalid JSON")
    events = body if isinstance(body, list) else [body]
    if wrong := next((words for words in map(_what_is_wrong, events) if words), ""):
        return _refused(400, wrong)
    ids = []
    for event in events:
        event_id = str(event.get("id") or secrets.token_hex(13))
        record.take("inngest", event_id, event["name"], event)
        ids.append(event_id)
    return json_answer({"ids": ids, "status": 200})


def _what_is_wrong(event: Any) -> str:
    if not isinstance(event, dict):
        return "Event must be an object"
    name = event.get("name")
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME:
        return "Event name is empty" if not name else "Event name is too long"
    if not isinstance(event.get("data", {}), dict):
        return "Event data must be an object"
    moment = event.get("ts")
    if moment is not None and (type(moment) is not int or moment < 0):
        return "Event ts must be in milliseconds"
    return ""


def _refused(status: int, words: str) -> Answer:
    return json_answer({"error": words, "status": status}, status)
