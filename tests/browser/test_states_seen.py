"""The empty queue and one that is out of date, in Chromium: each says what to do next."""

import re
import uuid

import pytest
from playwright.sync_api import expect

from tests.showcase import NEWCOMER, showcase

pytestmark = pytest.mark.slow

EMPTY = {
    "waiting": ("No (messages waiting|waiting messages are known)", "appears here"),
    "mine": ("Nothing in Mine", "Show waiting messages"),
    "leaving": ("Nothing is being sent", "can be undone"),
    "unknown": ("Nothing is unconfirmed", "until the desk knows its outcome"),
    "failed": ("Nothing has failed", "appear here"),
    "done": ("No decided messages yet", "Messages appear here"),
}


@pytest.fixture(scope="module")
def shown(product, ana):
    product.make_room(but=15)
    upstream_id, _ = product.send(
        f"Model {uuid.uuid4().hex[:8]}", cc="lee@fabrikam.example"
    )
    product.held(ana, upstream_id)
    with showcase(product.known["DATABASE_URL"], like=upstream_id) as made:
        made.make_newcomer(product.known["REVIEWER_EMAIL"])
        yield made


@pytest.fixture
def base(product):
    return product.known["DASHBOARD_URL"]


def test_empty_desk_of_a_newcomer_says_what_to_do_next_in_every_tab(
    open_page, shown, product, base
):
    page = open_page()
    page.goto(base + "/queue/")
    page.get_by_label("Email").fill(NEWCOMER)
    page.get_by_label("Password").fill(product.known["REVIEWER_PASSWORD"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/queue/")
    for tab, (title, advice) in EMPTY.items():
        page.goto(f"{base}/queue/?tab={tab}")
        box = page.locator("#rows .empty")
        expect(box).to_contain_text(re.compile(title))
        expect(box).to_contain_text(advice)
        expect(box.get_by_role("link").last).to_be_visible()
    for path, title in (
        ("history", "No decided messages yet"),
        ("audit", "No entries yet"),
        ("attention", "Nothing needs attention"),
    ):
        page.goto(f"{base}/{path}/")
        box = page.locator(".empty").filter(has_text=title)
        expect(box.get_by_role("link", name="Open the queue")).to_be_visible()
    page.goto(base + "/")
    expect(page.get_by_text("No messages are waiting.")).to_be_visible()
    page.watch.expected += ["404"]
    # Messages of other people's scopes do not exist for them.
    page.goto(base + shown.pages["held"])
    expect(page.get_by_role("heading", level=1)).to_have_text("Page not found")


def test_stale_account_is_shown_with_its_reason(open_page, signed_in, shown, base):
    shown.refresh(minutes_ago=25, error="MultiMail does not answer (503).")
    try:
        page = open_page(storage_state=signed_in)
        page.goto(base + "/queue/")
        expect(page.locator("#stale")).to_contain_text("This list may be incomplete.")
        expect(page.locator("#fresh")).to_have_attribute("data-level", "red")
        page.goto(base + "/")
        expect(page.locator("#home-connections")).to_contain_text(
            "MultiMail does not answer (503)."
        )
    finally:
        shown.refresh()
