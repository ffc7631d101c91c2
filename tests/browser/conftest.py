"""Chromium on the running product. Any console error, policy report or request to elsewhere fails the test."""

import os
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, sync_playwright

from tests.desk import Browser, Product

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = [
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items: list[Any]) -> None:
    for item in items:
        if "tests/browser" in str(item.path):
            item.add_marker(pytest.mark.xdist_group("stack"))
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="no Chromium: install Debian's package chromium"))


@pytest.fixture(scope="session")
def product(stack: Any) -> Product:
    shared = Product(stack)
    # The second mailbox keeps its five seconds, for the tests that undo.
    shared.set_undo_window("300 milliseconds")
    return shared


@pytest.fixture(scope="session")
def ana(product: Product) -> Browser:
    return product.reviewer("REVIEWER")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    with sync_playwright() as playwright:
        arguments = [*ARGUMENTS, *(["--no-sandbox"] if os.getuid() == 0 else [])]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


class Watch:
    """What a page did that it must not do. `expected` are parts of console errors that a test provokes on purpose."""

    def __init__(self, page: Page, hosts: set[str]) -> None:
        self.expected: list[str] = []
        self.found: list[str] = []
        page.on("console", lambda message: self._note(message.text, message.type == "error"))
        page.on("pageerror", lambda error: self._note(str(error), True))
        page.on("request", lambda request: self._note(f"request to {request.url}", self._is_elsewhere(request.url)))
        self._hosts = hosts

    def _is_elsewhere(self, url: str) -> bool:
        parts = urlsplit(url)
        is_remote = parts.scheme in ("http", "https", "ws", "wss")
        return (is_remote and parts.netloc not in self._hosts) or "csp-report" in url

    def _note(self, text: str, is_bad: bool) -> None:
        if is_bad and not any(part in text for part in self.expected):
            self.found.append(text)


@pytest.fixture
def page(chromium: Chromium, product: Product) -> Iterator[Page]:
    """A fresh browser context; what it did wrong fails the test at its end."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    known = product.known
    hosts = {urlsplit(known[name]).netloc for name in ("DASHBOARD_URL", "DISCORD_URL")}
    hosts.add(f"127.0.0.1:{product.stack.env['LIVE_PORT']}")
    page.watch = Watch(page, hosts)  # type: ignore[attr-defined]
    yield page
    context.close()
    assert page.watch.found == []  # type: ignore[attr-defined]


@pytest.fixture
def desk(page: Page, product: Product) -> Page:
    """The page, with Ana signed in and the queue open."""
    page.goto(product.known["DASHBOARD_URL"] + "/queue/")
    page.get_by_label("Email").fill(product.known["REVIEWER_EMAIL"])
    page.get_by_label("Password").fill(product.known["REVIEWER_PASSWORD"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/queue/")
    return page
