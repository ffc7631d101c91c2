"""A desk at work is backed up, goes on, and is lost with its disk; then the backup is
brought back on another one.
"""

import shutil
import signal
import threading
from contextlib import contextmanager

import pytest

from launcher import environment
from tests.desk import Product
from tests.stack import Stack, running_stack

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("restored")]
VARIABLES = {"BACKUP_PASSPHRASE": "correct horse battery"}


@contextmanager
def traffic(product):
    """Let an agent send and a reviewer approve, one message after the other."""
    is_over = threading.Event()
    sent = []

    def work():
        ben = product.reviewer("REVIEWER2")
        while not is_over.is_set():
            row = product.hold(ben)
            approve(product, ben, row)
            sent.append(row)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        product.wait_for(lambda: len(sent) > 2, timeout=120, what="mail to go through")
        yield
    finally:
        is_over.set()
        thread.join()


def approve(product, browser, row):
    answer = browser.decide(row["id"], "approve", row["fingerprint"])
    assert answer.status_code == 302, answer.text


def subjects(product):
    return {mail["Subject"] for mail in product.all_mails()}


def newest_seal(product):
    return product.sql("SELECT max(number) FROM audit_seal")[0][0]


def has_left(product, subject):
    product.wait_for(
        lambda: product.mails(subject), timeout=120, what=f"{subject} to leave"
    )


def lose_a_desk_at_work(folder, product):
    """Back it up, and let everything leave that was on its way; return the mail that
    was due at the gateway then.
    """
    stack = product.stack
    ana = product.reviewer()
    held = product.hold(ana)
    # Recorded, and due long after the backup; its mailbox has an undo window of a
    # minute.
    undoable = product.hold(ana, **{"from": product.known["MAILBOX2_ADDRESS"]})
    approve(product, ana, undoable)
    due = product.hold(ana)
    with traffic(product):
        # Approved at the gateway, and not handed to the mail server while its worker
        # stands still.
        stack.kill("worker-out", signal.SIGSTOP)
        approve(product, ana, due)
        status = "SELECT status FROM gateway_email WHERE id = %s"
        arrived = lambda: product.sql(status, due["upstream_id"]) == [("scheduled",)]  # noqa: E731
        product.wait_for(arrived, timeout=60, what="the approval to arrive")
        product.wait_for(
            lambda: newest_seal(product),
            timeout=60,
            what="a seal that the backup contains",
        )
        made = stack.run("backup", str(folder / "desk.backup"))
        assert made.returncode == 0, made.stdout + made.stderr
        stack.kill("worker-out", signal.SIGCONT)
        approve(product, ana, held)
        product.sql(
            "UPDATE approvals_decision SET due_at = now() WHERE state = 'recorded'"
        )
        for row in (held, undoable, due):
            has_left(product, row["subject"])
        sealed = newest_seal(product)
        product.wait_for(
            lambda: newest_seal(product) > sealed,
            timeout=60,
            what="a seal after the backup",
        )
        product.wait_for(
            lambda: _last_line(stack) > sealed,
            timeout=60,
            what="that seal in the seals' file",
        )
    return due


def _last_line(stack):
    text = (stack.data / "seals.jsonl").read_text()
    return int(text.rpartition('"number":')[2].partition(",")[0])


def test_busy_desk_is_restored_and_no_mail_leaves_twice(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    with running_stack(tmp_path_factory, **VARIABLES) as stack:
        product = Product(stack)
        product.set_undo_window("200 milliseconds")
        product.set_undo_window("10 minutes", "MAILBOX2_ID")
        product.hold_alerts()
        due = lose_a_desk_at_work(folder, product)
        left = subjects(product)
        ports = {name: stack.env[name] for name in environment.PORTS}
        shutil.copy(stack.data / "seals.jsonl", folder / "seals.jsonl")
    shutil.rmtree(stack.data)

    restored = Stack(
        tmp_path_factory.mktemp("new"), prepared=False, **VARIABLES, **ports
    )
    done = restored.run(
        "restore", str(folder / "desk.backup"), "--seals", str(folder / "seals.jsonl")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("The ledger is intact", "Lost are at least", due["upstream_id"]):
        assert words in done.stdout, done.stdout
    try:
        restored.start()
        see_that_nothing_leaves_twice(Product(restored), left, due)
        verified = restored.run("manage", "audit_verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
    finally:
        if restored.is_running():
            restored.stop()


def wait_for_sweeps(product):
    """Return once desk and gateway have looked for work twice."""
    [(now,)] = product.sql("SELECT now()")
    ticks = "SELECT count(*) FROM dashboard_tick WHERE job = ANY(%s) AND at > %s GROUP BY job"
    jobs = ["approvals.tasks.sweep", "gateway.tasks.sweep"]
    counts = lambda: [number for (number,) in product.sql(ticks, jobs, now)]  # noqa: E731
    product.wait_for(
        lambda: len(counts()) == 2 and min(counts()) > 1,
        timeout=120,
        what="sweeps of both",
    )


def see_that_nothing_leaves_twice(product, left, due):
    fate = product.sql(
        "SELECT status, fate_unknown FROM gateway_email WHERE id = %s",
        due["upstream_id"],
    )
    assert fate == [("sent", True)]
    wait_for_sweeps(product)
    assert subjects(product) == set()
    # An admin has compared it with the log of the mail server.
    ida = product.reviewer("ADMIN")
    [(number,)] = product.sql("SELECT id FROM mirror_connection")
    page = ida.get(f"/connections/{number}/")
    assert "restored from the backup of" in page.text
    assert ida.post(f"/connections/{number}/resume/", page).status_code == 302
    assert (
        product.call(
            "PATCH", "/v1/account", key="ADMIN_KEY", json={"hold_all": False}
        ).status_code
        == 200
    )
    # What is new goes through, and what had left does not leave again.
    seen = "SELECT count(*) FROM approvals_decision WHERE state = 'unknown' AND seen_held = 2"
    product.wait_for(
        lambda: product.sql(seen)[0][0] > 0,
        timeout=180,
        what="doubt to be looked into twice",
    )
    wait_for_sweeps(product)
    waiting = "SELECT count(*), count(*) FILTER (WHERE 'restored' = ANY(rules)) FROM approvals_review WHERE is_held"
    [(held, marked)] = product.sql(waiting)
    assert held == marked > 1
    ana = product.reviewer()
    row = product.hold(ana)
    approve(product, ana, row)
    has_left(product, row["subject"])
    assert subjects(product) & left == set()
