"""Signs webhooks over their exact bytes, also while a subscription changes its secret."""

import hashlib
import hmac
from datetime import datetime

from gateway.models import Webhook

HEADER = "X-MultiMail-Signature"
NEXT_HEADER = "X-MultiMail-Signature-Next"


def sign(secret: str, body: bytes) -> str:
    """Return the value of a signature header for these bytes."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def signatures(webhook: Webhook, body: bytes, *, now: datetime) -> dict[str, str]:
    """Return the headers that prove to the subscriber who sent `body`.

    While a rotation overlaps, the header that every receiver knows stays with the old secret: a receiver that has not
    learned the new one yet goes on working, and one that has takes either header. Two signatures in one header would
    break the published form.
    """
    if webhook.previous_secret and webhook.previous_until and now < webhook.previous_until:
        return {HEADER: sign(webhook.previous_secret, body), NEXT_HEADER: sign(webhook.secret, body)}
    return {HEADER: sign(webhook.secret, body)}
