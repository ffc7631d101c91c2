"""A day's work leaves the memory of all processes together near that of a fresh start
with the same data.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import cycle

import psutil
import pytest

from tests.desk import Product, some_words
from tests.stack import running_stack

MESSAGES = int(os.environ.get("SOAK_MESSAGES", "30"))
MOST = 1.2
# In paragraphs: most messages are short, some are long.
LENGTHS = (1, 1, 2, 3, 20, 120)
PAGES = ("/queue/", "/", "/attention/", "/queue/?tab=sent", "/queue/?q=order")

pytestmark = pytest.mark.soak


def test_days_work_leaves_memory_near_that_of_a_fresh_start(tmp_path_factory):
    with running_stack(tmp_path_factory) as stack:
        Product(stack).set_undo_window("0")
        held = send_all(Product(stack), MESSAGES)
        wait_for_content(Product(stack), held)
        stack.stop()
        stack.start()
        product = Product(stack)
        reviewers = [product.reviewer(prefix) for prefix in ("REVIEWER", "REVIEWER2")]
        read(product, reviewers[0], held[0])
        most = MOST * memory(stack)
        work(product, reviewers, held[: MESSAGES // 10])
        # Sessions of PostgreSQL that have grown end when they are used next, a minute
        # later or more.
        stack.wait_for(lambda: memory(stack) <= most, 600, f"memory below {most:.0f}")


def wait_for_content(product, held):
    """Wait until the desk has the content of all these messages."""
    query = "SELECT count(*) FROM mirror_message WHERE revision_id IS NOT NULL AND upstream_id = ANY(%s)"
    product.stack.wait_for(
        lambda: product.sql(query, held) == [(len(held),)],
        3000,
        "the content of all messages",
    )


def memory(stack):
    """What all processes hold, with what several share counted once (PSS)."""
    launcher = psutil.Process(stack.launcher.pid)
    held = 0
    for process in (launcher, *launcher.children(recursive=True)):
        # A session of PostgreSQL may end meanwhile.
        with suppress(psutil.NoSuchProcess):
            held += process.memory_full_info().pss
    return held


def send_all(product, count):
    def send(number):
        length = LENGTHS[number % len(LENGTHS)]
        return product.send(body="\n\n".join(some_words() for _ in range(length)))[0]

    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(send, range(count)))


def work(product, reviewers, held):
    """Read and decide what is held while as much is sent again, then open streams."""
    with ThreadPoolExecutor(20) as pool:
        again = pool.submit(send_all, product, len(held))
        browsers = cycle(reviewers)
        list(pool.map(read_and_decide, [product] * len(held), browsers, held))
        again.result()
        list(pool.map(listen, [product] * 40, browsers))


def read(product, browser, upstream_id):
    """Open the pages that a reviewer opens, and return the row of the message."""
    row = product.held(browser, upstream_id)
    for path in (*PAGES, f"/queue/{row['id']}/body/"):
        browser.get(path)
    return row


def read_and_decide(product, browser, upstream_id):
    browser.approve(read(product, browser, upstream_id))


def listen(product, browser):
    """Open a stream, hear its first beat, and close it."""
    url = f"http://127.0.0.1:{product.stack.env['LIVE_PORT']}/live/"
    with browser.session.get(url, stream=True, timeout=60) as stream:
        assert next(stream.iter_content(16))
