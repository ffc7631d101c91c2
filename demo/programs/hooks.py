"""A receiver of signed webhooks that checks them as the Standard Webhooks specification asks its users to."""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping

from demo.programs.record import Record
from demo.web import Answer, Request, json_answer

TOLERANCE_SECONDS = 300


def take_hook(record: Record, request: Request, secret: str) -> Answer:
    """Take an event in whose signature holds; 400 for what is none."""
    if not is_signed(request.headers, request.body, secret, time.time()):
        return json_answer({"error": "The signature does not hold."}, 400)
    try:
        body = json.loads(request.body)
        record.take("webhook", request.headers["webhook-id"], str(body["type"]), body)
    except (ValueError, KeyError, TypeError):
        return json_answer({"error": "This is signed, but no event."}, 400)
    return Answer(204)


def is_signed(headers: Mapping[str, str], body: bytes, secret: str, now: float) -> bool:
    """Return whether one of the signatures is of this secret, over id, time and body, and not from long ago. Pure."""
    event_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    if not event_id or not timestamp.isascii() or not timestamp.isdigit():
        return False
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (ValueError, binascii.Error):
        return False
    signed = f"{event_id}.{timestamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    signatures = headers.get("webhook-signature", "").split(" ")
    return bool(key) and any(hmac.compare_digest(one.encode(), expected.encode()) for one in signatures)
