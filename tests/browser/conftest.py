"""Fixtures that open pages of the running product in Chromium. A console error, a
report of the content security policy or a request to another host fails the test.
"""

import contextlib
import os
import time
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

from launcher.quality import find_chromium
from tests.desk import some_words

CHROMIUM = find_chromium()
# Messages that wait when a module starts. A page of the queue has fifty, and no module
# sends more than the others.
MANY = 20
# Milliseconds.
PATIENCE = 90_000
ARGUMENTS = [
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/browser" in str(item.path):
            if item.get_closest_marker("xdist_group") is None:
                item.add_marker(pytest.mark.xdist_group("stack"))
            if CHROMIUM is None:
                item.add_marker(
                    pytest.mark.skip(
                        reason="no Chromium: install chromium-headless-shell"
                    )
                )


@pytest.fixture(scope="module", autouse=True)
def _short_queue(product):
    """Start with few messages, so that a new one appears on the first page of the
    queue.
    """
    product.make_room(but=MANY)


@pytest.fixture(scope="session")
def chromium():
    # So long because three test processes and their products may share two processors.
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        arguments = [*ARGUMENTS, *(["--no-sandbox"] if os.getuid() == 0 else [])]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


# For how long a sign-in is shared: after ten minutes, sensitive acts require
# reauthentication. Tests of reauthentication sign in themselves.
PROOF_SECONDS = 7 * 60


class Watch:
    """Collects the violations of one page in `found`. `expected` are parts of console
    errors that a test provokes on purpose.
    """

    def __init__(self, page, hosts):
        self.expected = []
        self.found = []
        page.on(
            "console", lambda message: self._note(message.text, message.type == "error")
        )
        page.on("pageerror", lambda error: self._note(str(error), True))
        page.on(
            "request",
            lambda request: self._note(
                f"request to {request.url}", self._is_elsewhere(request.url)
            ),
        )
        self._hosts = hosts

    def _is_elsewhere(self, url):
        parts = urlsplit(url)
        is_remote = parts.scheme in ("http", "https", "ws", "wss")
        return (is_remote and parts.netloc not in self._hosts) or "csp-report" in url

    def _note(self, text, is_bad):
        if is_bad and not any(part in text for part in self.expected):
            self.found.append(text)


@pytest.fixture(scope="session")
def cookies_of(chromium, product):
    """Return a function that returns the cookies of a person. The sign-in is shared by
    tests, because sign-ins are slow and limited.
    """
    stored = {}

    def cookies_of(prefix):
        at, state = stored.get(prefix, (-PROOF_SECONDS, None))
        if time.monotonic() - at >= PROOF_SECONDS:
            context = chromium.new_context()
            sign_in(context.new_page(), product, prefix)
            state = context.storage_state()
            stored[prefix] = (time.monotonic(), state)
            context.close()
        return state

    return cookies_of


@pytest.fixture
def signed_in(cookies_of):
    """The cookies of the reviewer Ana, who is signed in."""
    return cookies_of("REVIEWER")


def sign_in(page, product, prefix):
    """Sign in as a person would, and end on the queue."""
    page.goto(product.known["DASHBOARD_URL"] + "/queue/")
    page.get_by_label("Email").fill(product.known[f"{prefix}_EMAIL"])
    page.get_by_label("Password").fill(product.known[f"{prefix}_PASSWORD"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/queue/")


@contextlib.contextmanager
def watched_pages(chromium, hosts):
    """Yield a function that opens pages in fresh browser contexts. A violation in any
    of them fails the test at its end.
    """
    opened = []

    def open_page(**options):
        context = chromium.new_context(
            viewport={"width": 1440, "height": 900}, **options
        )
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.watch = Watch(page, hosts)
        opened.append((context, page.watch))
        return page

    yield open_page
    for context, _ in opened:
        context.close()
    assert [found for _, watch in opened for found in watch.found] == []


@pytest.fixture
def open_page(chromium, product):
    """Return a function that opens pages in fresh browser contexts."""
    known = product.known
    hosts = {urlsplit(known[name]).netloc for name in ("DASHBOARD_URL", "DISCORD_URL")}
    hosts.add(f"127.0.0.1:{product.stack.env['LIVE_PORT']}")
    with watched_pages(chromium, hosts) as open_page:
        yield open_page


@pytest.fixture
def open_as(open_page, cookies_of):
    """Return a function that opens a page of REVIEWER2, ADMIN or AUDITOR, who are
    signed in already.
    """
    return lambda prefix, **options: open_page(
        storage_state=cookies_of(prefix), **options
    )


@pytest.fixture
def hold(product, ana):
    """Return a function that holds a distinct message of the mailbox whose decisions
    can be undone, and waits until the desk has read it.
    """

    def hold(subject=None, **fields):
        mailbox = {"from": product.known["MAILBOX2_ADDRESS"], "body": some_words()}
        return product.hold(ana, subject, **mailbox | fields)

    return hold


@pytest.fixture
def desk(open_page, signed_in, product):
    """A page of Ana's, with the queue open."""
    page = open_page(storage_state=signed_in)
    page.goto(product.known["DASHBOARD_URL"] + "/queue/")
    return page
