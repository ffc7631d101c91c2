"""Unexpected actions of senders and people, in Chromium: the desk stays consistent and
says the truth.
"""

import pytest
from playwright.sync_api import expect

from tests.browser.looking import is_narrow

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ana")]


def test_long_words_of_a_sender_push_neither_the_queue_nor_the_addresses_away(
    desk, product, ana
):
    metadata = {"discord_user": "a" * 300, "discord_channel": "c" * 300}
    row = product.hold(ana, subject="S" * 998, metadata=metadata)
    desk.goto(f"{product.known['DASHBOARD_URL']}/queue/")
    for width in (390, 1440):
        desk.set_viewport_size({"width": width, "height": 844})
        assert is_narrow(desk)
        assert desk.evaluate(
            "[...document.querySelectorAll('.item')].every(one => one.scrollWidth <= one.clientWidth)"
        )
    item = desk.locator(f".item[data-message='{row['id']}']")
    item.click()
    expect(desk.locator("#addresses")).to_be_in_viewport(ratio=1)
    # It was held once, and is not reported as held again.
    expect(item.and_(desk.locator("[aria-current=true]"))).to_be_visible()
    expect(item.locator("[data-chip]")).to_be_hidden()


def test_key_after_g_goes_somewhere_or_does_nothing(desk, product, ana):
    row = product.hold(ana)
    desk.goto(product.page(row))
    desk.keyboard.press("g")
    # After any hesitation, the next key still does not decide.
    desk.evaluate("new Promise((done) => setTimeout(done, 1700))")
    desk.keyboard.press("a")
    desk.wait_for_url("**/audit/")
    assert ana.find(row["upstream_id"])["decision"] is None
