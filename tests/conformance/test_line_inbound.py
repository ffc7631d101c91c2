"""Inbound mail: by SMTP into the demo, past a reviewer where the mailbox requires one,
to the agent.
"""

import smtplib
import uuid
from email.message import EmailMessage

import pytest

from tests.desk import TIMEOUT


def write_to(product, address, subject):
    """Send a mail as a customer would."""
    mail = EmailMessage()
    mail["From"] = "Dana <dana@northwind.example>"
    mail["To"] = address
    mail["Subject"] = subject
    mail.set_content("Where is order 4471?")
    with smtplib.SMTP(
        "127.0.0.1", int(product.known["INBOUND_PORT"]), timeout=TIMEOUT
    ) as server:
        server.send_message(mail)


def unread(product, address):
    """What the agent's `check_inbox` lists."""
    rows = product.call(
        "GET", "/v1/check_inbox", params={"mailbox": address, "limit": 100}
    ).json()["emails"]
    return {row["subject"]: row["id"] for row in rows}


@pytest.mark.slow
def test_mail_to_the_demo_is_in_the_inbox(product):
    subject = f"Customer {uuid.uuid4().hex[:8]}"
    address = product.known["MAILBOX_ADDRESS"]
    write_to(product, address, subject)
    read = product.call(
        "GET", "/v1/read_email", params={"id": unread(product, address)[subject]}
    ).json()
    assert read["text"] == "Where is order 4471?"
    assert read["status"] == "read"


def test_held_mail_reaches_the_agent_once_a_reviewer_lets_it_in(product, ana):
    subject = f"Customer {uuid.uuid4().hex[:8]}"
    address = f"held-{uuid.uuid4().hex[:8]}@yourteam.example"
    made = product.call(
        "POST",
        "/v1/mailboxes",
        "ADMIN_KEY",
        json={"address": address, "oversight_mode": "gated_all"},
    )
    assert made.status_code == 201, made.text
    write_to(product, address, subject)
    [upstream_id] = [
        row["id"]
        for row in product.call("GET", "/v1/oversight/pending", "OVERSIGHT_KEY").json()[
            "pending"
        ]
        if row["subject"] == subject
    ]
    row = product.held(ana, upstream_id)
    assert unread(product, address) == {}
    assert (
        product.call("GET", "/v1/read_email", params={"id": upstream_id}).status_code
        == 403
    )
    assert ana.decide(row["id"], "approve", row["fingerprint"]).status_code == 302
    product.wait_for(
        lambda: unread(product, address) == {subject: upstream_id},
        timeout=60,
        what="the mail let in",
    )
    released = product.wait_for(
        lambda: ana.find(upstream_id, "done"), timeout=60, what="the desk to know it"
    )
    assert released["state"] == "released"
