"""Approving for later in Chromium: by keys, refused with what was typed, and undone."""

import pytest
from playwright.sync_api import expect

from tests.desk import some_words

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ana")]


@pytest.fixture
def held(product, ana):
    """Two held messages of the mailbox whose decisions can be undone."""
    sent = [
        product.send(body=some_words(), **{"from": product.known["MAILBOX2_ADDRESS"]})
        for _ in range(2)
    ]
    return [product.held(ana, upstream_id) for upstream_id, _ in sent]


def test_approval_for_later_is_chosen_by_keys_refused_with_what_was_chosen_and_undone(
    desk, product, held
):
    first, second = held
    desk.watch.expected += ["403"]
    desk.goto(product.page(first, "?order=soonest"))
    desk.wait_for_selector("article[inert][data-letter=here]", state="attached")
    desk.keyboard.press("w")
    # The next message is in the page too, set aside.
    later = desk.locator("#later")
    expect(later.get_by_label("Tomorrow, 09:00")).to_be_focused()
    # A time in the past is refused: the message comes back with what was chosen.
    zone = later.get_by_label("Recipient's time zone")
    later.get_by_label("Day and time").fill("2020-01-01T09:00")
    zone.fill("tokyo")
    desk.keyboard.press("Enter")
    expect(
        desk.get_by_text("That time is in the past. Choose a later one.")
    ).to_be_visible()
    expect(later.get_by_label("Day and time")).to_have_value("2020-01-01T09:00")
    expect(later.get_by_label("Another time")).to_be_checked()
    later.get_by_label("Day and time").fill("")
    zone.fill("Asia/Tokyo")
    later.get_by_label("Another time").focus()
    desk.keyboard.press("1")
    desk.keyboard.press("Enter")
    notice = desk.locator(f"#decided[data-message='{first['id']}']")
    expect(notice).to_contain_text("09:00 (Asia/Tokyo)")
    assert (
        desk.evaluate("document.getElementById('message').dataset.message")
        == second["id"]
    )
    desk.keyboard.press("z")
    expect(
        desk.locator("#message").get_by_text(
            "Undone. The message is held again; nothing was sent."
        )
    ).to_be_visible()
