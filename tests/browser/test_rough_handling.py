"""What senders and people do that nobody planned for, seen in Chromium: the desk stays whole and says the truth."""

import pytest
from playwright.sync_api import expect

from tests.browser.looking import is_narrow

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ana")]


def test_message_held_once_is_not_said_to_be_held_again(desk, product, ana):
    row = product.hold(ana)
    desk.goto(f"{product.known['DASHBOARD_URL']}/queue/")
    desk.get_by_role("link", name=row["subject"]).click()
    expect(desk.get_by_role("heading", name=row["subject"])).to_be_visible()
    expect(desk.locator(f".item[data-message='{row['id']}'][aria-current=true]")).to_be_visible()
    expect(desk.locator(f".item[data-message='{row['id']}'] [data-chip]")).to_be_hidden()


def test_what_a_sender_says_of_itself_does_not_push_the_queue_apart(desk, product, ana):
    upstream_id, _ = product.send(metadata={"discord_user": "a" * 300, "discord_channel": "c" * 300})
    product.held(ana, upstream_id)
    desk.goto(f"{product.known['DASHBOARD_URL']}/queue/")
    for width in (1440, 390):
        desk.set_viewport_size({"width": width, "height": 844})
        assert is_narrow(desk)
        assert desk.evaluate("[...document.querySelectorAll('.item')].every(one => one.scrollWidth <= one.clientWidth)")


def test_longest_subject_leaves_the_addresses_in_sight(desk, product, ana):
    row = product.hold(ana, subject="S" * 998)
    desk.goto(product.page(row))
    expect(desk.locator("#addresses")).to_be_in_viewport(ratio=1)


def test_reason_is_sent_with_control_and_enter_and_starts_where_it_is_written(desk, product, ana):
    row = product.hold(ana)
    desk.goto(product.page(row))
    desk.locator("#reject summary").click()
    expect(desk.get_by_role("group", name="Why is it rejected?")).to_be_focused()
    desk.keyboard.type("Two")
    expect(desk.get_by_label("In your words").first).to_be_focused()
    desk.keyboard.press("Enter")
    desk.keyboard.type("lines")
    desk.keyboard.press("Control+Enter")
    expect(desk.locator("#decided[data-message]")).to_contain_text("Rejected.")
    told = [one["details"] for one in ana.trace(row["id"]) if one["action"] == "decision.recorded"]
    assert [one["reason"] for one in told] == ["Two\nlines"]


def test_key_after_g_goes_somewhere_or_does_nothing(desk, product, ana):
    row = product.hold(ana)
    desk.goto(product.page(row))
    desk.keyboard.press("g")
    # Longer than anybody's hesitation would be measured: the next key is still not one that decides.
    desk.evaluate("new Promise((done) => setTimeout(done, 1700))")
    desk.keyboard.press("a")
    desk.wait_for_url("**/audit/")
    assert ana.find(row["upstream_id"]) is not None


def test_notice_of_a_desk_that_is_away_covers_no_button(desk, product, ana):
    row = product.hold(ana)
    desk.goto(product.page(row))
    desk.route("**/verdict/", lambda route: route.abort())
    desk.watch.expected += ["ERR_FAILED", "htmx:"]
    desk.keyboard.press("r")
    desk.keyboard.type("A reason")
    desk.get_by_role("button", name="Reject with this reason").click()
    expect(desk.get_by_text("The desk cannot be reached.")).to_be_visible()
    desk.unroute("**/verdict/")
    desk.get_by_role("button", name="Reject with this reason").click()
    expect(desk.get_by_role("button", name="Undo")).to_be_visible()
