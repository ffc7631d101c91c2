"""Every state of a message and of the queue, in Chromium: each is true and says what to do next."""

import re
import uuid

import pytest
from playwright.sync_api import expect

from tests.showcase import NEWCOMER, showcase

pytestmark = pytest.mark.slow

# The label of each state, and the text on its page.
EXPECTED = {
    "held": ("Held", "Approve"),
    "reported": ("Held", "Said to be approved elsewhere: being checked."),
    "expiring": ("Held", "Expires in"),
    "test message": ("Held", "Test"),
    "fetching": ("Fetching", "The content is being fetched from MultiMail."),
    "unreadable": ("", "The content could not be read."),
    "for later": ("Approved for later", "(Europe/Berlin)"),
    "leaving": ("Sending", "Approved by Ben Okafor."),
    "calling": ("Sending", "In progress"),
    "unknown": ("Outcome unknown", "The outcome is not known yet."),
    "confirm": ("Outcome unknown", "Still held after two checks"),
    "unattributed": ("Outcome unknown", "It was decided, but how is not known."),
    "withdrawn": ("May still be sent", "This message may still be sent."),
    "refused": ("Held", "Held again."),
    "undone": ("Held", "Undone. The message is held again; nothing was sent."),
    "sent back": ("Changes requested", "Say 30 November"),
    "rejected": ("Rejected", "Rejected by Ben Okafor"),
    "expired": ("Expired", "Never sent."),
    "delivered": ("Delivered", "Approved by Ben Okafor"),
    "bounced": ("Bounced", "Approved by Ben Okafor"),
    "failed": ("Failed", "Approved by Ben Okafor"),
    "cancelled": ("Cancelled", "nothing was sent"),
    "gone": ("Decided elsewhere", "how it was decided is not known"),
}
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
    upstream_id, _ = product.send(f"Model {uuid.uuid4().hex[:8]}", cc="lee@fabrikam.example")
    product.held(ana, upstream_id)
    with showcase(product.known["DATABASE_URL"], like=upstream_id) as made:
        made.make_newcomer(product.known["REVIEWER_EMAIL"])
        yield made


@pytest.fixture
def base(product):
    return product.known["DASHBOARD_URL"]


def test_every_state_of_a_message_has_a_word_says_what_is_true_and_leads_somewhere(open_page, signed_in, shown, base):
    page = open_page(storage_state=signed_in)
    wrong = {}
    for name, (word, words) in EXPECTED.items():
        page.goto(base + shown.pages[name])
        page_text = page.locator("#message").inner_text()
        bar = page.locator("#message-bar").inner_text()
        if words not in page_text or (name not in ("fetching", "unreadable") and word not in bar):
            wrong[name] = page_text[:300]
        if name in ("rejected", "delivered", "cancelled", "gone", "unknown", "fetching"):
            # It cannot be decided, and links to the next step.
            expect(page.locator("#decide").locator("a, button").locator("visible=true").first).to_be_visible()
            expect(page.locator("#decide form.approve")).to_have_count(0)
    assert wrong == {}


def test_empty_desk_of_a_newcomer_says_what_to_do_next_in_every_tab(open_page, shown, product, base):
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
        expect(page.locator("#home-connections")).to_contain_text("MultiMail does not answer (503).")
    finally:
        shown.refresh()
