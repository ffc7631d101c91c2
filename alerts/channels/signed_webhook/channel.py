"""Signs what goes out as the Standard Webhooks specification asks, and reads what the receiver answers."""

import base64
import hashlib
import hmac
import secrets
import time
from urllib.parse import urlsplit

from alerts.channels.endpoints import problem_with_endpoint
from alerts.channels.http import ask, asked_to_wait, for_log
from alerts.channels.outcomes import DestinationGone, Later, Posted
from alerts.models import Destination
from common.postgres import clock

PREFIX = "whsec_"
# The specification asks for 24 to 64.
_BYTES = 32
IN_WORDS = {
    401: "The receiver refused the test (401). Look whether it checks the signature with this destination's secret.",
    403: "The receiver refused the test (403). Look whether it checks the signature with this destination's secret.",
    404: "Nothing takes webhooks at this address (404). Look whether it is whole.",
    405: "What is at this address takes no webhooks (405). Look whether it is whole.",
    410: "The receiver says that it wants no more webhooks (410). Ask whoever runs it.",
}


def make_secret() -> str:
    """Return a new secret, as people copy it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def signature(secret: str, *, event_id: str, timestamp: int, body: bytes) -> str:
    """Return one signature of the version 1: an HMAC-SHA256 over id, time and the exact bytes."""
    signed = f"{event_id}.{timestamp}.".encode() + body
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def headers(destination: Destination, *, event_id: str, body: bytes) -> dict[str, str]:
    """Return the three headers, of this moment; while the secret before is taken too, with a signature of each."""
    timestamp = int(time.time())
    signing = [destination.secret]
    if destination.secret_before and destination.secret_before_until and destination.secret_before_until > clock():
        signing.append(destination.secret_before)
    signed = [signature(secret, event_id=event_id, timestamp=timestamp, body=body) for secret in signing]
    return {"webhook-id": event_id, "webhook-timestamp": str(timestamp), "webhook-signature": " ".join(signed)}


def post(destination: Destination, body: bytes, *, event_id: str, limit: float) -> Posted:
    """Post one event. Whatever the receiver does not take with a 2xx it gets again, but for a 410."""
    if problem := problem_with_endpoint(destination.url):
        raise DestinationGone(problem)
    if not destination.secret:
        raise DestinationGone("The destination has no secret to sign with. Make a new one.")
    answer = ask(destination.url, body, headers=headers(destination, event_id=event_id, body=body), limit=limit)
    parts = urlsplit(destination.url)
    kept = for_log(answer, (parts.query, parts.path.strip("/")))
    if 200 <= answer.status < 300:
        return Posted("", answer.status, answer=kept)
    sentence = f"The receiver answered {answer.status}."
    if answer.status == 410:
        raise DestinationGone(f"{sentence} It wants no more webhooks.", status=410, answer=kept)
    if answer.status == 429:
        raise Later("The receiver asked to wait.", seconds=asked_to_wait(answer), status=429, answer=kept)
    raise Later(sentence, status=answer.status, answer=kept)
