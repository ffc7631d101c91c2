"""The live stream is lost or stalls, or the computer sleeps: pages poll, catch up, and
say when they cannot.
"""

import contextlib
import os
import re
import signal

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow

# Longer than the stream may be silent, and longer than a page waits before it reports
# that.
SILENT = 26_000
UNHEARD = 31_000


@pytest.fixture
def queue(open_page, signed_in, product, ana):
    """The queue in Chromium, with a working stream and a clock that the test can
    advance.
    """
    product.make_room(but=20)
    page = open_page(storage_state=signed_in)
    page.watch.expected += [
        "ERR_INTERNET_DISCONNECTED",
        "ERR_FAILED",
        "ERR_INCOMPLETE_CHUNKED_ENCODING",
        "ERR_CON",
        # The clock is no script that the frame of a message may run.
        "Blocked script execution",
    ]
    page.clock.install()
    page.goto(product.known["DASHBOARD_URL"] + "/queue/")
    page.wait_for_selector("body[data-stream='open']")
    return page


@contextlib.contextmanager
def stopped(*pids):
    """Stop processes of this machine for the block; those that have ended are passed
    over.
    """

    def send(signum):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)

    try:
        send(signal.SIGSTOP)
        yield
    finally:
        send(signal.SIGCONT)


def cut_off(page, product, *patterns):
    """Close the open stream, and block these requests afterwards."""
    for pattern in patterns:
        page.route(pattern, lambda route: route.abort())
    product.stack.kill("live")
    page.wait_for_selector("body[data-stream='polling']")


def expect_new_rows(page):
    return expect(page.locator("#new")).to_contain_text(re.compile(r"\d+ new"))


def test_stalled_stream_is_closed_and_the_page_polls(queue, product, ana):
    with stopped(product.stack.pids()["live"]):
        queue.clock.fast_forward(SILENT)
        queue.wait_for_selector("body[data-stream='polling']")
        product.hold(ana)
        expect_new_rows(queue)
        expect(queue.locator("#unheard")).to_be_hidden()
    queue.clock.fast_forward(SILENT)
    queue.wait_for_selector("body[data-stream='open']")


def test_page_whose_stream_is_cut_off_polls_and_announces_new_rows(queue, product, ana):
    cut_off(queue, product, "**/live/**")
    product.hold(ana)
    expect_new_rows(queue)
    assert queue.locator("body").get_attribute("data-stream") == "polling"


def test_page_that_hears_nothing_says_so_after_half_a_minute(queue, product, ana):
    cut_off(queue, product, "**/live/**", "**/pulse/**")
    expect(queue.locator("#unheard")).to_be_hidden()
    queue.clock.fast_forward(UNHEARD)
    expect(queue.locator("#unheard")).to_contain_text("this page may be out of date")
    product.hold(ana)
    queue.unroute_all()
    expect(queue.locator("#unheard")).to_be_hidden()
    expect_new_rows(queue)
