"""`./run gateway` whose worker is killed: mail leaves once or is said to be in doubt, what was taken in is there once.

The same deaths at every statement are proven in process by tests/integration/gateway; here they are real.
"""

import os
import re
import signal
import smtplib
import socket
import subprocess
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import requests
from celery import Celery

from tests.integration.gateway.servers import mail_server
from tests.stack import running_stack, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("gateway-faults")]

SENDER, PATIENCE = "dana@northwind.example", 60
SENDERS, EACH = 4, 15


class Gateway:
    """The running gateway, its keys and its mail server."""

    def __init__(self, stack, mail):
        self.stack, self.mail = stack, mail
        told = stack.run("manage", "gateway_account", "--name", "Deaths").stdout
        known = dict(re.findall(r"^([a-z ]+?)  +(\S+)", told, re.M))
        self.keys, self.mailbox = known, known["mailbox"]
        self.address = re.search(r"^mailbox .*  (\S+)$", told, re.M)[1]
        self.port = int(stack.env["INBOUND_PORT"])

    def call(self, method, path, key="agent", **options):
        url = f"http://127.0.0.1:{self.stack.env['GATEWAY_PORT']}{path}"
        headers = {"Authorization": f"Bearer {self.keys[key]}"}
        answer = requests.request(method, url, headers=headers, timeout=PATIENCE, **options)
        assert answer.ok, answer.text
        return answer.json()

    def approve(self):
        """Have a message approved, and return its id."""
        body = {"to": [SENDER], "subject": f"Death {uuid.uuid4().hex}", "markdown": "Hello"}
        email_id = self.call("POST", f"/v1/mailboxes/{self.mailbox}/send", json=body)["id"]
        self.call("POST", "/v1/oversight/decide", "oversight", json={"email_id": email_id, "action": "approve"})
        return email_id

    def sql(self, query, *parameters):
        with psycopg.connect(self.stack.env["DATABASE_OWNER_URL"], autocommit=True) as database:
            cursor = database.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []

    def sweep(self):
        broker = self.stack.env["REDIS_URL"].replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=")
        Celery(broker=broker, set_as_current=False).send_task("gateway.tasks.sweep", queue="gateway")

    def kill_worker(self):
        before = self.stack.kill("worker-out")
        self.stack.wait_for(lambda: self.stack.pids().get("worker-out", before) != before, PATIENCE, "another worker")

    def let_leases_end(self):
        """They would by themselves, in minutes."""
        self.sql("UPDATE gateway_email SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL")
        self.sweep()

    def facts(self, email_id):
        [row] = self.sql("SELECT status, fate_unknown, attempts FROM gateway_email WHERE id = %s", email_id)
        return row

    def wait(self, function, what):
        return self.stack.wait_for(function, PATIENCE, what)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with mail_server() as mail, running_stack(tmp_path_factory, "gateway", DEMO="0", EMAIL_URL=mail.url) as stack:
        yield Gateway(stack, mail)


@pytest.mark.parametrize(("mood", "ended"), [("stall early", ("sent", False, 2)), ("stall", ("sent", True, 1))])
def test_worker_killed_while_it_speaks_to_the_mail_server_sends_once(gateway, mood, ended):
    gateway.mail.mood, mails, seen = mood, gateway.mail.mails, gateway.mail.seen
    email_id = gateway.approve()
    gateway.wait(lambda: gateway.mail.mails > mails, "the worker to begin with the mail server")
    if mood == "stall":
        gateway.wait(lambda: gateway.mail.seen > seen, "the message to be handed over")
    gateway.mail.mood = "ok"
    gateway.kill_worker()
    gateway.let_leases_end()
    gateway.wait(lambda: gateway.facts(email_id) == ended, f"it to be {ended}")
    # Whatever could make the gateway send it again, and a message that shows that the sweep has run.
    gateway.sql("UPDATE gateway_email SET due_at = now(), lease_until = NULL WHERE id = %s", email_id)
    gateway.sweep()
    after = gateway.approve()
    gateway.wait(lambda: gateway.facts(after)[0] == "sent", "the next message to leave")
    assert gateway.mail.seen == seen + 2


def message(subject, to):
    return f"From: {SENDER}\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nWhere is it?\r\n".encode()


def is_taken(gateway, content):
    """Offer a message as a mail server does, once."""
    try:
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=PATIENCE) as client:
            client.sendmail(SENDER, [gateway.address], content)
    except (OSError, smtplib.SMTPException):
        return False
    return True


def test_worker_killed_under_load_loses_nothing_that_it_acknowledged(gateway):
    mark, taken, enough = f"load-{uuid.uuid4().hex[:8]}", [], threading.Event()

    def offer(sender):
        for number in range(EACH):
            subject = f"{mark}-{sender}-{number}"
            content = message(subject, gateway.address)
            wait_for(lambda content=content: is_taken(gateway, content), PATIENCE, f"{subject} to be taken")
            taken.append(subject)
            if len(taken) >= SENDERS * EACH // 3:
                enough.set()

    with ThreadPoolExecutor(SENDERS) as senders:
        offers = [senders.submit(offer, sender) for sender in range(SENDERS)]
        assert enough.wait(PATIENCE)
        gateway.kill_worker()
        for one in offers:
            one.result()
    rows = gateway.sql("SELECT subject FROM gateway_email WHERE subject LIKE %s ORDER BY subject", f"{mark}-%")
    assert [subject for (subject,) in rows] == sorted(taken)


def children_of(pid):
    told = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(one) for one in told.split()]


def test_pool_child_made_anew_keeps_no_connection_open(gateway):
    """The pool forks again with a session under way: that goes on, and its end reaches the client."""
    worker = gateway.stack.pids()["worker-out"]
    [child] = gateway.wait(lambda: children_of(worker), "a child")
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE) as raw:
        answers = raw.makefile("rb")

        def say(line):
            raw.sendall(line + b"\r\n")
            return answers.readline()[:3]

        answers.readline()
        assert say(b"HELO x") == b"250"
        os.kill(child, signal.SIGKILL)
        gateway.wait(lambda: children_of(worker) not in ([], [child]), "another child")
        subject = f"fork {uuid.uuid4().hex}"
        assert say(b"MAIL FROM:<" + SENDER.encode() + b">") == b"250"
        assert say(b"RCPT TO:<" + gateway.address.encode() + b">") == b"250"
        assert say(b"DATA") == b"354"
        assert say(message(subject, gateway.address) + b".") == b"250"
        assert say(b"QUIT") == b"221"
        assert answers.read() == b""
    assert gateway.stack.pids()["worker-out"] == worker
    assert gateway.sql("SELECT status FROM gateway_email WHERE subject = %s", subject) == [("unread",)]
