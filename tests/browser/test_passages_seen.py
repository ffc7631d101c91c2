"""Quoting a passage in Chromium: by mouse and by keys."""

import pytest
from playwright.sync_api import expect

from tests.browser.looking import SCHEMES, too_wide, violations_in
from tests.desk import some_words

pytestmark = pytest.mark.slow

# Selects these words in the text of the message, as a mouse or the keys of a browser
# would.
SELECT = """words => {
    const text = document.querySelector('#sheet pre.text').firstChild;
    const start = text.data.indexOf(words);
    getSelection().setBaseAndExtent(text, start, text, start + words.length);
}"""


@pytest.fixture
def held(hold):
    """A held message with a finding."""
    return hold(
        body=f"we pay **9000** euros to DE89370400440532013000 today. {some_words()}"
    )


def reason_of(held, product):
    """The reason of the decision on the message, once it is recorded."""
    reasons = "SELECT d.reason FROM approvals_decision d JOIN mirror_message m ON m.id = d.message_id"
    query = f"{reasons} WHERE m.public_id = %s"
    [(reason,)] = product.wait_for(
        lambda: product.sql(query, held["id"]), timeout=60, what="the decision"
    )
    return reason


def test_selected_words_are_quoted_in_a_request_for_changes_by_mouse_and_by_key(
    desk, product, held
):
    desk.goto(product.page(held, "?view=text"))
    desk.evaluate(SELECT, "we pay **9000** euros")
    bar = desk.get_by_role("toolbar", name="Selected words")
    expect(bar).to_be_visible()
    assert violations_in(desk, *SCHEMES) == []
    bar.get_by_role("button", name="Request changes").click()
    passage = desk.locator("#send_back-passage")
    expect(passage).to_have_value("we pay **9000** euros")

    desk.goto(product.page(held, "?view=text"))
    desk.evaluate(SELECT, "to DE89370400440532013000")
    expect(bar).to_be_visible()
    desk.keyboard.press("b")
    expect(passage).to_have_value("to DE89370400440532013000")
    desk.set_viewport_size({"width": 320, "height": 800})
    assert too_wide(desk) == []
    desk.locator("#send-back-reason").fill("Ask sales first.")
    desk.keyboard.press("Control+Enter")
    assert reason_of(held, product) == "> to DE89370400440532013000\n\nAsk sales first."
