"""Mail that comes in while the process that takes it dies: what was acknowledged is there, and there once."""

import os
import signal
import smtplib
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conformance.tenant import unique
from tests.stack import wait_for

pytestmark = pytest.mark.xdist_group("gateway-faults")

SENDER = "dana@northwind.example"
SENDERS, EACH = 4, 15


def port_of(rig) -> int:
    return int(rig.gateway.stack.env["INBOUND_PORT"])


def letter(subject: str, to: str) -> bytes:
    return f"From: {SENDER}\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nWhere is it?\r\n".encode()


def acknowledged(port: int, content: bytes, to: str) -> bool:
    """Offer a message as a mail server does, once; whether it was taken."""
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
            client.sendmail(SENDER, [to], content)
    except (OSError, smtplib.SMTPException):
        return False
    return True


def test_worker_killed_under_load_loses_nothing_that_it_acknowledged(rig, tenant):
    port, mark, stack = port_of(rig), unique("load").replace(" ", "-"), rig.gateway.stack
    taken: list[str] = []
    enough = threading.Event()

    def offer(sender: int) -> None:
        for number in range(EACH):
            subject = f"{mark}-{sender}-{number}"
            content = letter(subject, tenant.address)
            wait_for(lambda content=content: acknowledged(port, content, tenant.address), 40, f"{subject} to be taken")
            taken.append(subject)
            if len(taken) >= SENDERS * EACH // 3:
                enough.set()

    with ThreadPoolExecutor(SENDERS) as senders:
        offers = [senders.submit(offer, sender) for sender in range(SENDERS)]
        assert enough.wait(40)
        before = stack.kill("worker-out")
        for one in offers:
            one.result()
    assert stack.pids()["worker-out"] != before
    rows = rig.gateway.sql("SELECT subject FROM gateway_email WHERE subject LIKE %s ORDER BY subject", f"{mark}-%")
    assert [subject for (subject,) in rows] == sorted(taken)
    told = rig.gateway.sql(
        "SELECT count(*) FROM gateway_auditlogentry WHERE action = 'email.received' AND account_id = %s", tenant.account
    )
    assert told == [(SENDERS * EACH,)]


def children_of(pid: int) -> list[int]:
    return [
        int(one) for one in subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    ]


def test_pool_child_made_anew_keeps_no_connection_open(rig, tenant):
    """The pool forks again with a session under way: that goes on, and its end reaches the client."""
    worker = rig.gateway.stack.pids()["worker-out"]
    [child] = wait_for(lambda: children_of(worker), 20, "a child")
    with socket.create_connection(("127.0.0.1", port_of(rig)), timeout=20) as raw:
        answers = raw.makefile("rb")

        def say(line: bytes) -> bytes:
            raw.sendall(line + b"\r\n")
            return answers.readline()[:3]

        answers.readline()
        assert say(b"HELO x") == b"250"
        os.kill(child, signal.SIGKILL)
        wait_for(lambda: children_of(worker) not in ([], [child]), 30, "another child")
        subject = unique("fork")
        assert say(b"MAIL FROM:<" + SENDER.encode() + b">") == b"250"
        assert say(b"RCPT TO:<" + tenant.address.encode() + b">") == b"250"
        assert say(b"DATA") == b"354"
        assert say(letter(subject, tenant.address) + b".") == b"250"
        assert say(b"QUIT") == b"221"
        assert answers.read() == b""
    assert rig.gateway.stack.pids()["worker-out"] == worker
    assert rig.gateway.sql("SELECT status FROM gateway_email WHERE subject = %s", subject) == [("unread",)]
