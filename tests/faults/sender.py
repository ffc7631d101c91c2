"""Posts signed webhooks to the desk in place of the gateway, with a record of the
answers.
"""

import contextlib
import hashlib
import json
import time
import uuid
from dataclasses import dataclass, field

import requests

from upstream.signatures import HEADER, sign

# Seconds.
PATIENCE = 120


def event(name="message.received", **fields):
    """Return the body of an event of now, by default about received mail, which is
    neither held nor alerted.
    """
    upstream_id = fields.setdefault(
        "email_id", f"01FAULT{uuid.uuid4().hex[:18].upper()}"
    )
    inner = {
        "subject": f"Fault {upstream_id}",
        "to": ["dana@northwind.example"],
        "direction": "inbound",
        **fields,
    }
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return json.dumps(
        {
            "event": name,
            "event_id": uuid.uuid4().hex,
            "timestamp": at,
            **inner,
            "data": inner,
        }
    ).encode()


def digest(body):
    return hashlib.sha256(body).hexdigest()


@dataclass
class Sender:
    """Posts to one webhook address with one secret, and records each body with the
    status of its answer.
    """

    url: str
    secret: str
    answers: list[tuple[bytes, int]] = field(default_factory=list)

    @classmethod
    def of(cls, desk):
        return cls(desk.known["WEBHOOK_URL"], desk.known["WEBHOOK_SECRET"])

    def post(self, body):
        signed = sign(body, self.secret)
        headers = {"Content-Type": "application/json", HEADER: signed}
        answer = requests.post(self.url, data=body, headers=headers, timeout=PATIENCE)
        self.answers.append((body, answer.status_code))
        return answer

    def post_until_accepted(self, body):
        """Post the same bytes again, as MultiMail does, until they are accepted."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(requests.RequestException):
                if self.post(body).status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"not taken within {PATIENCE} s: {body[:80]!r}")


def assert_stored_once(desk, bodies):
    """Assert that each webhook was stored once, made one message, and left one ledger
    entry besides those of alerts.
    """
    digests = [digest(body) for body in bodies]
    rows = desk.sql(
        "SELECT digest, result, email_id FROM mirror_webhookevent WHERE digest = ANY(%s)",
        digests,
    )
    assert sorted(row["digest"] for row in rows) == sorted(digests)
    assert {row["result"] for row in rows} == {"applied"}
    query = (
        "SELECT m.upstream_id, array(SELECT action FROM audit_entry e WHERE e.message = m.public_id "
        "AND action NOT LIKE 'alert.%%') AS entries "
        "FROM mirror_message m WHERE m.upstream_id = ANY(%s)"
    )
    mirrored = desk.sql(query, [row["email_id"] for row in rows])
    assert len(mirrored) == len(digests)
    wrong = [row for row in mirrored if row["entries"] != ["message.received"]]
    assert not wrong, wrong[:3]
