"""Webhooks of the stand-in for hosted MultiMail: the names of events, their signature,
and the thread that delivers them.

Events have the form of the documents' page on patterns. The other documented forms are
tested in integration/test_webhook.py.
"""

import hashlib
import hmac
import http.client
from urllib.parse import urlsplit

NAMES = {
    "pending": "oversight.pending",
    "approved": "oversight.approved",
    "rejected": "oversight.rejected",
    "sent": "message.sent",
    "delivered": "message.delivered",
    "received": "message.received",
}
KNOWN = {*NAMES.values(), "message.bounced", "message.complained"}


def deliver(waiting):
    """Send the events of a queue in order, each once, forever."""
    while True:
        delivery = waiting.get()
        delivery.attempts += 1
        delivery.response_status = _post(delivery)
        is_taken = delivery.response_status == 200
        delivery.status = "delivered" if is_taken else "failed"
        waiting.task_done()


def _post(delivery):
    address = urlsplit(delivery.webhook.url)
    connection = http.client.HTTPConnection(
        address.hostname or "", address.port, timeout=10
    )
    digest = hmac.new(
        delivery.webhook.secret.encode(), delivery.body, hashlib.sha256
    ).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-MultiMail-Signature": f"sha256={digest}",
    }
    try:
        connection.request("POST", address.path or "/", delivery.body, headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
