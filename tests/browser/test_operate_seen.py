"""In Chromium: the kill switch on open pages, stuck work with its one action, and
reading now.
"""

import pytest
from playwright.sync_api import expect

from tests.browser.looking import is_narrow

pytestmark = pytest.mark.slow

REASON = "A flood of refunds that nobody asked for"


@pytest.fixture
def admin(open_as, product):
    """Return a function that opens a path as Ida, who is admin."""

    def open_path(path):
        page = open_as("ADMIN")
        page.goto(product.known["DASHBOARD_URL"] + path)
        return page

    return open_path


def release(page, product):
    """Release the kill switch, also after a failed test."""
    page.goto(product.known["DASHBOARD_URL"] + "/stop/")
    while page.get_by_role("button", name="Release").count():
        page.get_by_role("button", name="Release").first.click()
        page.wait_for_load_state()


def test_open_pages_say_at_once_that_the_switch_is_pulled_and_released(
    desk, admin, product
):
    desk.wait_for_selector("[data-stream='open']", state="attached")
    page = admin("/stop/")
    try:
        page.get_by_label("Reason").fill(REASON)
        page.get_by_role("button", name="Stop", exact=True).click()
        banner = desk.get_by_role("region", name="Kill switch")
        expect(banner).to_contain_text(REASON)
        expect(banner).to_contain_text("Everything is stopped. Ida")
        expect(banner).to_contain_text("are still sent")
        expect(desk.locator(".to-stop.is-pulled")).to_be_visible()
        desk.set_viewport_size({"width": 360, "height": 740})
        expect(banner).to_be_visible()
        assert is_narrow(desk)
    finally:
        release(page, product)
    expect(banner).to_be_hidden()


def test_open_home_shows_a_connection_that_is_not_well_any_more(admin, product):
    page = admin("/")
    card = page.locator("#home-connections")
    expect(card.get_by_text("Healthy", exact=True)).to_be_visible()
    product.sql(
        "UPDATE mirror_connection SET wait_until = now() + interval '5 minutes'"
    )
    try:
        # The effect of a hint about the connection; writing only the row sends none.
        page.evaluate("document.dispatchEvent(new Event('desk:ask-pulse'))")
        expect(card.get_by_text("Waits", exact=True)).to_be_visible()
    finally:
        product.sql("UPDATE mirror_connection SET wait_until = NULL")


def test_page_that_hears_nothing_does_not_stay_green(open_page, signed_in, product):
    page = open_page(storage_state=signed_in)
    page.watch.expected += [
        "ERR_INTERNET_DISCONNECTED",
        "ERR_NETWORK_CHANGED",
        "Failed to load resource",
    ]
    page.clock.install()
    page.goto(product.known["DASHBOARD_URL"] + "/history/")
    expect(page.locator("#fresh[data-level='green']")).to_be_visible()
    page.context.set_offline(True)
    page.clock.run_for(150_000)
    expect(page.locator("#fresh[data-level='amber']")).to_contain_text(
        "had no contact with the desk for 2 minutes"
    )
    page.context.set_offline(False)
    with page.expect_response(
        lambda answer: "/queue/pulse/" in answer.url and answer.ok
    ):
        page.clock.run_for(60_000)
    expect(page.locator("#fresh[data-level='green']")).to_be_visible()
