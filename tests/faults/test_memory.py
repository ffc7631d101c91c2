"""A day's work leaves the memory of all processes together near that of a fresh start
with the same data.
"""

import base64
import os
import smtplib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.message import EmailMessage
from functools import partial
from itertools import cycle
from threading import Thread

import psutil
import pytest

from tests.desk import Product, some_words
from tests.stack import running_stack

MESSAGES = int(os.environ.get("SOAK_MESSAGES", "200"))
MOST = 1.2
# In paragraphs: most messages are short, some are long.
LENGTHS = (1, 1, 2, 3, 20, 120)

pytestmark = pytest.mark.soak


def test_days_work_leaves_memory_near_that_of_a_fresh_start(tmp_path_factory):
    with running_stack(tmp_path_factory) as stack:
        Product(stack).set_undo_window("0")
        held = hold(Product(stack), MESSAGES)
        wait_for_content(Product(stack), held)
        stack.stop()
        stack.start()
        product = Product(stack)
        wait_for_whole_read(product)
        reviewers = [product.reviewer(prefix) for prefix in ("REVIEWER", "REVIEWER2")]
        read(product, reviewers[0], held[0])
        fresh = memory(stack)
        work(product, reviewers, held[: MESSAGES // 10])
        report(stack, fresh)
        # Sessions of PostgreSQL that have grown end when they are used next, a minute
        # later or more.
        stack.wait_for(
            lambda: within(stack, fresh),
            600,
            f"memory within {MOST:.0%} of a fresh start",
        )
        report(stack, fresh)


def wait_for_content(product, held):
    """Wait until the desk has the content of all these messages."""
    query = "SELECT count(*) FROM mirror_message WHERE revision_id IS NOT NULL AND upstream_id = ANY(%s)"
    product.stack.wait_for(
        lambda: product.sql(query, held) == [(len(held),)],
        3000,
        "the content of all messages",
    )


def wait_for_whole_read(product):
    """Wait until all that is held was read once since now."""
    began = product.sql("SELECT now()")[0][0]
    query = "SELECT bool_and(complete_as_of > %s) FROM mirror_connection"
    product.stack.wait_for(
        lambda: product.sql(query, began) == [(True,)],
        120,
        "all that is held to be read",
    )


def within(stack, fresh):
    used = sum(memory(stack).values())
    limit = MOST * sum(fresh.values())
    assert used <= limit, f"{used:.0f} MB of {limit:.0f}"
    return True


def report(stack, fresh):
    """Print each process with its memory now and after the start, in MB."""
    now = memory(stack)
    for name in sorted(now):
        print(f"{name:<14} {fresh.get(name, 0):7.1f} {now[name]:7.1f}")
    print(f"{'all':<14} {sum(fresh.values()):7.1f} {sum(now.values()):7.1f}")


def memory(stack):
    """What each process and its children hold in MB, with what several share counted
    once (PSS).
    """
    names = {pid: name for name, pid in stack.pids().items()}
    launcher = psutil.Process(stack.launcher.pid)
    held = Counter()
    for process in (launcher, *launcher.children(recursive=True)):
        # A session of PostgreSQL may end meanwhile.
        with suppress(psutil.NoSuchProcess):
            above = (one.pid for one in (process, *process.parents()))
            held[next((names[pid] for pid in above if pid in names), "launcher")] += (
                process.memory_full_info().pss
            )
    return {name: size / 1024**2 for name, size in held.items()}


def hold(product, number):
    """Send so many messages, a part of them with files, and take mail in beside them."""
    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(partial(send, product), range(number)))


def work(product, reviewers, held):
    """Read and decide what is held while as much is sent again, then open streams."""
    again = Thread(target=hold, args=[product, len(held)])
    again.start()
    with ThreadPoolExecutor(20) as pool:
        decided = partial(read_and_decide, product)
        assert len(list(map(decided, cycle(reviewers), held))) == len(held)
        again.join()
        list(pool.map(listen, [product] * 40, cycle(reviewers)))


def send(product, number):
    text = "\n\n".join(some_words() for _ in range(LENGTHS[number % len(LENGTHS)]))
    content = base64.b64encode(os.urandom(30_000)).decode()
    file = {
        "filename": f"{number}.bin",
        "content": content,
        "content_type": "application/octet-stream",
    }
    if number % 10 == 0:
        take_in(product, text)
    return product.send(body=text, attachments=[file] if number % 20 == 0 else [])[0]


def take_in(product, text):
    mail = EmailMessage()
    mail["From"] = "dana@northwind.example"
    mail["To"] = product.known["MAILBOX_ADDRESS"]
    mail["Subject"] = "Order 4471"
    mail.set_content(text)
    mail.add_attachment(
        os.urandom(500_000),
        maintype="application",
        subtype="octet-stream",
        filename="scan.bin",
    )
    with smtplib.SMTP(
        "127.0.0.1", int(product.stack.env["INBOUND_PORT"]), timeout=60
    ) as server:
        server.send_message(mail)


def read(product, browser, upstream_id):
    """Open the pages that a reviewer opens, and return the row of the message."""
    row = product.held(browser, upstream_id)
    for path in (
        "/queue/",
        f"/queue/{row['id']}/body/",
        "/",
        "/attention/",
        "/queue/?tab=sent",
        "/queue/?q=order",
    ):
        browser.get(path)
    return row


def read_and_decide(product, browser, upstream_id):
    row = read(product, browser, upstream_id)
    answer = browser.decide(row["id"], "approve", row["fingerprint"])
    assert answer.status_code == 302, answer.status_code


def listen(product, browser):
    """Open a stream, hear its first beat, and close it."""
    url = f"http://127.0.0.1:{product.stack.env['LIVE_PORT']}/live/"
    with browser.session.get(url, stream=True, timeout=60) as stream:
        assert next(stream.iter_content(16))
