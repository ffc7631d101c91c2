"""The command palette in Chromium: found by letters, chosen by keys, and the open message's buttons pressed by it."""

import re
import uuid

import pytest
from playwright.sync_api import expect

from tests.browser.looking import too_wide, violations
from tests.desk import some_words

pytestmark = pytest.mark.slow
DECISIONS = re.compile(r"\b(Approve|Reject|Request changes|Undo|Claim|Withdraw)\b")


@pytest.fixture
def row(product, ana):
    name = f"Palette {uuid.uuid4().hex[:8]}"
    return product.hold(ana, name, **{"from": product.known["MAILBOX2_ADDRESS"]}, body=some_words())


def open_palette(page, keys="Control+k"):
    page.keyboard.press(keys)
    typed = page.get_by_role("combobox", name="Find a page")
    expect(typed).to_be_focused()
    return typed


def options(page):
    return page.locator("#palette-list [role=option]")


def chosen(page):
    return page.locator("#palette-list [aria-selected=true]")


@pytest.mark.usefixtures("ana")
def test_palette_goes_everywhere_and_presses_the_buttons_of_the_open_message(desk, open_as, open_page, product, row):
    desk.goto(product.page(row))
    desk.locator("#comment-button").focus()
    typed = open_palette(desk)
    # The message's buttons come first; nothing is chosen yet, so that Enter does nothing.
    expect(options(desk).first).to_contain_text("Approve and send")
    expect(options(desk).filter(has_text="with this reason")).to_have_count(0)
    expect(chosen(desk)).to_have_count(0)
    desk.keyboard.press("Enter")
    expect(typed).to_be_focused()
    assert (violations(desk), too_wide(desk)) == ([], [])
    # Nothing that is typed here acts on the message behind, and Escape leads back.
    desk.keyboard.type("a")
    desk.keyboard.press("Escape")
    expect(desk.locator("#comment-button")).to_be_focused()
    # Reject asks for its reason, as after a press.
    open_palette(desk, "Meta+k")
    desk.keyboard.type("rjct")
    expect(chosen(desk)).to_contain_text("Reject")
    desk.keyboard.press("Enter")
    expect(desk.locator("#reject[open]")).to_be_visible()
    desk.keyboard.press("Escape")
    # Arrow keys go round; the best stands first, whatever its accents and its case.
    open_palette(desk)
    desk.keyboard.type("ÁUDIT")
    expect(options(desk).first).to_have_text(re.compile("^Audit"))
    expect(typed).to_have_attribute("aria-activedescendant", "palette-0")
    desk.keyboard.press("ArrowUp")
    expect(options(desk).last).to_have_attribute("aria-selected", "true")
    desk.keyboard.press("ArrowDown")
    desk.keyboard.press("Enter")
    desk.wait_for_url("**/audit/")
    # The button in the sidebar opens it as well; on a phone it fits.
    desk.set_viewport_size({"width": 320, "height": 700})
    desk.goto(product.page(row))
    open_palette(desk)
    assert too_wide(desk) == []
    desk.keyboard.type("zzzz")
    expect(desk.get_by_role("status").filter(has_text="No results for “zzzz”")).to_be_visible()
    desk.get_by_role("button", name="Close").click()
    desk.set_viewport_size({"width": 1440, "height": 900})
    desk.get_by_role("link", name="Find Ctrl K").click()
    expect(typed).to_be_focused()
    desk.keyboard.type("approve")
    desk.keyboard.press("Enter")
    expect(desk.locator(f"#decided[data-message='{row['id']}']")).to_contain_text("Approved.")
    open_palette(desk)
    desk.keyboard.type("undo")
    desk.keyboard.press("Enter")
    expect(desk.get_by_text("Undone. The message is held again; nothing was sent.")).to_be_visible()
    # An auditor reads the same message and finds no decision.
    auditor = open_as("AUDITOR")
    auditor.goto(product.page(row))
    open_palette(auditor)
    expect(options(auditor).filter(has_text="Reports").first).to_be_visible()
    expect(options(auditor).filter(has_text=DECISIONS)).to_have_count(0)


def test_button_is_not_pressed_once_the_message_is_another(desk, product, ana, row):
    desk.goto(product.page(row))
    open_palette(desk)
    desk.keyboard.type("approve")
    desk.evaluate("document.getElementById('message').dataset.fingerprint = '0'.repeat(64)")
    desk.keyboard.press("Enter")
    expect(desk.locator("#announce")).to_have_text("The message changed. Review it again.")
    assert ana.find(row["upstream_id"])["decision"] is None


def test_palette_is_a_page_without_scripts(open_page, signed_in, product):
    page = open_page(java_script_enabled=False, storage_state=signed_in)
    page.goto(product.known["DASHBOARD_URL"] + "/queue/")
    page.get_by_role("link", name="Find Ctrl K").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Find")
    expect(page.get_by_role("heading", name="Mailboxes")).to_be_visible()
    page.get_by_role("searchbox").fill("hstry")
    page.get_by_role("searchbox").press("Enter")
    page.locator("main").get_by_role("link", name="History").click()
    page.wait_for_url("**/history/")
