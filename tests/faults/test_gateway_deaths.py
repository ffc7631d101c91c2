"""`./run gateway` whose worker is killed while mail comes in: what was acknowledged is
there, and there once.

That mail which goes out leaves once, whenever its worker dies, is proven in process by
tests/integration/gateway.
"""

import re
import smtplib
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.stack import running_stack, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("gateway-faults")]

SENDER = "dana@northwind.example"
PATIENCE = 60
SENDERS = 4
EACH = 15


class Gateway:
    """The running gateway, and an account whose mailbox accepts mail."""

    def __init__(self, stack):
        self.stack = stack
        self.port = int(stack.env["INBOUND_PORT"])
        output = stack.run("manage", "gateway_account", "--name", "Deaths").stdout
        self.address = re.search(r"^mailbox .*  (\S+)$", output, re.M)[1]

    def sql(self, query, *parameters):
        with psycopg.connect(self.stack.env["DATABASE_OWNER_URL"]) as database:
            return database.execute(query, parameters).fetchall()

    def wait(self, function, what):
        return self.stack.wait_for(function, PATIENCE, what)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with running_stack(tmp_path_factory, "gateway", DEMO="0") as stack:
        yield Gateway(stack)


def message(subject, to):
    return f"From: {SENDER}\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nWhere is it?\r\n".encode()


def is_accepted(gateway, content):
    """Offer a message once, as a mail server does; return whether it was accepted."""
    try:
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=PATIENCE) as client:
            client.sendmail(SENDER, [gateway.address], content)
    except (OSError, smtplib.SMTPException):
        return False
    return True


def test_worker_killed_under_load_loses_nothing_that_it_acknowledged(gateway):
    mark = f"load-{uuid.uuid4().hex[:8]}"
    accepted = []
    enough = threading.Event()

    def offer(sender):
        for number in range(EACH):
            subject = f"{mark}-{sender}-{number}"
            content = message(subject, gateway.address)
            wait_for(
                lambda content=content: is_accepted(gateway, content),
                PATIENCE,
                f"{subject} to be taken",
            )
            accepted.append(subject)
            if len(accepted) >= SENDERS * EACH // 3:
                enough.set()

    with ThreadPoolExecutor(SENDERS) as senders:
        offers = [senders.submit(offer, sender) for sender in range(SENDERS)]
        assert enough.wait(PATIENCE)
        before = gateway.stack.kill("worker-out")
        for one in offers:
            one.result()
    assert gateway.stack.pids()["worker-out"] != before
    rows = gateway.sql(
        "SELECT subject FROM gateway_email WHERE subject LIKE %s ORDER BY subject",
        f"{mark}-%",
    )
    assert [subject for (subject,) in rows] == sorted(accepted)
