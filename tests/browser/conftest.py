"""Chromium on the running product. Any console error, policy report or request to
elsewhere fails the test.
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
# A page of the queue has fifty; no module's tests send more than the rest of it.
MANY = 20
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
    # An upper bound: three test processes and their products share two processors.
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        arguments = [*ARGUMENTS, *(["--no-sandbox"] if os.getuid() == 0 else [])]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


# After ten minutes a sensitive act requires reauthentication; tests of that sign in by
# themselves.
PROOF_SECONDS = 7 * 60


class Watch:
    """Violations of one page. `expected` are parts of console errors that a test
    provokes on purpose.
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
    """Return a function that returns somebody's cookies from one shared sign-in:
    sign-ins are slow and limited.
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
    """Ana's cookies."""
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
    """Open pages in fresh browser contexts; a violation in any of them fails the test
    at its end.
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
