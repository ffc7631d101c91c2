"""The queue in Chromium: the restored position, the counts, and long words."""

import re
import uuid

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


@pytest.fixture
def queue(desk, product):
    """Return a function that opens an address of the queue."""

    def open_queue(query=""):
        desk.goto(f"{product.known['DASHBOARD_URL']}/queue/{query}")
        desk.wait_for_selector("[data-stream='open']", state="attached")
        return desk

    return open_queue


def word():
    """Return a unique word without digits, which would make messages similar."""
    return "w" + "".join(chr(97 + int(digit, 16)) for digit in uuid.uuid4().hex[:12])


def test_back_returns_to_the_row_with_its_focus_and_its_scroll(queue, desk, hold):
    name = word()
    rows = [hold(f"{name} {letter}") for letter in "abcde"]
    # No room beside the list, which has to be scrolled.
    desk.set_viewport_size({"width": 880, "height": 400})
    page = queue(f"?q={name}&group=none")
    page.locator("#list .item").last.click()
    expect(page.locator("#subject")).to_be_visible()
    page.go_back()
    back = page.locator(f"#list .item[data-message='{rows[-1]['id']}']")
    expect(back).to_be_focused()
    assert page.evaluate("document.getElementById('rows').scrollTop") > 0
    expect(back).to_be_in_viewport()


def test_row_of_a_message_that_was_fetched_meanwhile_follows_when_it_is_opened(
    queue, desk, product, hold
):
    name = word()
    row = hold(name)
    mine = "FROM mirror_message WHERE public_id = %s"
    ((had,),) = product.sql(f"SELECT revision_id {mine}", row["id"])
    change = "UPDATE mirror_message SET revision_id = %s WHERE public_id = %s"
    product.sql(change, None, row["id"])
    # No room beside the list, so that no message opens itself.
    desk.set_viewport_size({"width": 880, "height": 600})
    item = queue(f"?q={name}").locator("#list .item")
    expect(item).to_contain_text("Fetching")
    product.sql(change, had, row["id"])
    item.click()
    expect(desk.locator("#subject")).to_have_text(re.compile(name))
    expect(item).not_to_contain_text("Fetching")


def test_first_message_opens_itself_and_counts_as_opened_by_a_press(
    queue, product, hold
):
    name = word()
    row = hold(name)
    page = queue(f"?q={name}&group=none")
    expect(page.locator(f"#message[data-message='{row['id']}']")).to_be_visible()
    # What it loads is noted by then; that it was opened is not.
    question = "SELECT action FROM audit_entry WHERE message = %s"
    acts = [action for (action,) in product.sql(question, row["id"])]
    assert "message.served" in acts
    assert "message.opened" not in acts
    with page.expect_response("**/opened/"):
        page.keyboard.press("Shift")
    assert ("message.opened",) in product.sql(question, row["id"])
