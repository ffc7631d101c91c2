"""Find in Chromium: a key opens it, words are typed, and Enter goes to the first
result.
"""

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ana")]


def test_find_is_opened_by_a_key_and_goes_to_the_first_result(desk, product, ana):
    row = product.hold(ana)
    desk.goto(product.page(row))
    # In a field the key does nothing, so that what was typed there is not lost.
    desk.locator("#q").focus()
    desk.keyboard.press("Control+k")
    desk.keyboard.type("kept")
    expect(desk.locator("#q")).to_have_value("kept")
    desk.keyboard.press("Escape")
    desk.keyboard.press("Control+k")
    desk.wait_for_url("**/find/")
    expect(desk.get_by_role("searchbox")).to_be_focused()
    desk.keyboard.type("\u00c1UDIT")
    desk.keyboard.press("Enter")
    first = desk.locator("main").get_by_role("link", name="Audit", exact=True)
    expect(first).to_be_focused()
    desk.keyboard.press("Enter")
    desk.wait_for_url("**/audit/")
    desk.keyboard.press("Meta+k")
    desk.wait_for_url("**/find/")
