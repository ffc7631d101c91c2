"""The message's sheet in Chromium: as high as the message, with the thread and a reason
beside it, and high risk.
"""

import pytest
from playwright.sync_api import expect

from tests.browser.looking import is_narrow
from tests.browser.test_enclosed_seen import answered
from tests.desk import some_words

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ana")]
__all__ = ["answered"]

LONG = "A paragraph that takes a line of its own on the page.\n\n" * 60


def height(page, selector):
    return page.locator(selector).first.bounding_box()["height"]


def overlap(page, first, second):
    """Whether two elements lie over each other on the screen."""
    one, other = (
        page.locator(selector).first.bounding_box() for selector in (first, second)
    )
    return (
        one["x"] < other["x"] + other["width"] - 1
        and other["x"] < one["x"] + one["width"] - 1
        and one["y"] < other["y"] + other["height"] - 1
        and other["y"] < one["y"] + one["height"] - 1
    )


@pytest.mark.parametrize("java_script_enabled", [True, False])
def test_short_message_is_a_short_sheet_and_a_long_one_scrolls_in_its_frame(
    open_page, signed_in, product, ana, java_script_enabled
):
    page = open_page(storage_state=signed_in, java_script_enabled=java_script_enabled)
    page.goto(
        product.page(
            product.hold(ana, body=f"Hello Dana,\nall is well.\n\n{some_words()}")
        )
    )
    expect(
        page.frame_locator("#sheet iframe").get_by_text("all is well")
    ).to_be_visible()
    assert 120 <= height(page, "#sheet iframe") <= 360
    assert page.frame_locator("#sheet iframe").locator("br").count() == 1, (
        "line breaks are kept"
    )
    expect(page.locator("#comments")).to_be_in_viewport()
    page.goto(product.page(product.hold(ana, body=f"{LONG}{some_words()}")))
    assert height(page, "#sheet iframe") == pytest.approx(0.64 * 900, abs=2)


def test_thread_stands_beside_the_draft(desk, product, answered):
    _, _, row = answered
    desk.goto(product.page(row))
    expect(desk.locator("#thread")).to_contain_text("Two of the six mugs came broken.")
    sheet, thread = (desk.locator(one).bounding_box() for one in ("#sheet", "#thread"))
    assert thread["x"] >= sheet["x"] + sheet["width"]
    assert thread["y"] < 840
    desk.set_viewport_size({"width": 390, "height": 844})
    assert (
        desk.locator("#thread").bounding_box()["y"]
        > desk.locator("#sheet").bounding_box()["y"]
    )
    assert is_narrow(desk)


def test_reason_is_written_beside_the_message_and_on_a_phone_under_it_with_cancel(
    desk, open_page, signed_in, product, ana
):
    row = product.hold(ana, body=f"Hello Dana.\n\n{some_words()}")
    desk.goto(product.page(row))
    desk.keyboard.press("r")
    expect(desk.locator("#reject .reason")).to_be_visible()
    assert not overlap(desk, "#reject .reason", "#sheet")
    desk.locator("#reject").get_by_role("link", name="Cancel").click()
    expect(desk.locator("#reject .reason")).to_be_hidden()
    expect(desk.locator("#reject summary")).to_be_focused()

    phone = open_page(storage_state=signed_in, has_touch=True)
    phone.set_viewport_size({"width": 390, "height": 844})
    phone.goto(product.page(row))
    # Not by its locator, which scrolls: a press leaves the message where it is.
    phone.locator("#sheet").evaluate("(sheet) => sheet.scrollIntoView()")
    top, box = (
        phone.locator(one).bounding_box() for one in ("#sheet", "#reject summary")
    )
    phone.touchscreen.tap(box["x"] + 20, box["y"] + 20)
    send = phone.get_by_role("button", name="Reject with this reason")
    expect(send).to_be_visible()
    bar, sheet = (phone.locator(one).bounding_box() for one in ("#decide", "#sheet"))
    assert sheet["y"] == top["y"], "the message stays where it was"
    assert min(sheet["y"] + sheet["height"], bar["y"]) - max(sheet["y"], 0) > 150
    assert bar["height"] <= 844 * 0.6
    expect(send).to_be_in_viewport(ratio=0.99)
    assert is_narrow(phone)
    phone.locator("#reject").get_by_role("link", name="Cancel").tap()
    expect(send).to_be_hidden()

    plain = open_page(storage_state=signed_in, java_script_enabled=False)
    plain.goto(product.page(row))
    plain.locator("#reject summary").click()
    plain.locator("#reject").get_by_role("link", name="Cancel").click()
    expect(plain.locator("#reject .reason")).to_be_hidden()


@pytest.fixture
def alike(product, ana):
    """A held message to a domain that looks like the desk's own, which is known from
    the beginning.
    """
    sender = product.known["MAILBOX2_ADDRESS"]
    true = sender.rpartition("@")[2]
    false = true.replace("o", "0", 1)
    return product.hold(ana, to=f"dana@{false}", **{"from": sender}), false, true


def test_high_risk_marks_the_letters_and_asks_in_place_with_the_message_beside(
    desk, product, ana, alike
):
    row, false, true = alike
    desk.watch.expected += ["422"]
    desk.goto(product.page(row))
    rows = desk.locator("#addresses .alike bdi")
    expect(rows).to_have_count(2)
    assert rows.all_inner_texts() == [false, true]
    assert rows.locator("u").all_inner_texts() == ["0", "o"]
    edges = [rows.nth(number).bounding_box() for number in (0, 1)]
    assert edges[0]["x"] == edges[1]["x"]
    assert edges[0]["width"] == pytest.approx(edges[1]["width"], abs=0.5)
    # Rejecting is the stronger of the two, and stands beside.
    fill = "one => getComputedStyle(one).backgroundColor"
    careful, reject = (
        desk.locator("#decide .careful"),
        desk.locator("#reject > summary"),
    )
    assert careful.evaluate(fill) == desk.locator("#send-back > summary").evaluate(fill)
    assert reject.evaluate(fill) != careful.evaluate(fill)
    assert careful.bounding_box()["y"] == pytest.approx(
        reject.bounding_box()["y"], abs=1
    )

    careful.click()
    desk.wait_for_url("**/approve/")
    expect(desk.get_by_role("heading").first).to_have_text(
        f"High risk: {row['subject']}, to dana@{false}"
    )
    expect(
        desk.frame_locator("iframe.face").get_by_text("your refund for order 4471")
    ).to_be_visible()
    assert desk.locator(".alike u").all_inner_texts() == ["0", "o"]
    desk.get_by_role("button", name="Approve and send").click()
    expect(desk.get_by_text("Nothing was decided.")).to_be_visible()
    for field in ("#typed", "[name=risk_read]"):
        wrong = desk.locator(field).first
        assert wrong.get_attribute("aria-invalid") == "true"
        expect(
            desk.locator(f"#{wrong.get_attribute('aria-describedby').split()[-1]}")
        ).to_be_visible()
    desk.locator("#reject > summary").click()
    desk.get_by_label("Wrong recipient").check()
    desk.get_by_role("button", name="Reject with this reason").click()
    desk.wait_for_url("**decided=**")
    assert ana.find(row["upstream_id"], tab="leaving")
