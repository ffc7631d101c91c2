"""One printed message, as Chromium would print it: identity, content, and no buttons."""

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ana")]


def test_printed_message_has_its_fingerprint_text_and_history_and_no_buttons(
    desk, product, ana
):
    row = product.hold(ana, body="Please pay **EUR 12,400** by Friday.")
    desk.goto(product.page(row))
    expect(desk.get_by_role("button", name="Approve")).to_be_visible()
    expect(desk.locator("#message .paper")).to_be_hidden()
    desk.emulate_media(media="print", color_scheme="dark")
    paper = desk.locator("#message .paper")
    expect(paper).to_contain_text(row["fingerprint"])
    expect(paper).to_contain_text(row["upstream_id"])
    expect(desk.locator("#subject")).to_have_text(row["subject"])
    expect(desk.locator("#message pre.face.text")).to_be_visible()
    # As rendered, not as source.
    expect(desk.locator("#message pre.face.text")).to_contain_text(
        "Please pay EUR 12,400 by Friday."
    )
    expect(desk.locator("#comments")).to_contain_text("held the message for review")
    for gone in ("#decide", "#list", ".rail", "iframe.rendered", "#comments textarea"):
        expect(desk.locator(gone).first).to_be_hidden()
    assert desk.locator("button:visible, a.btn:visible").count() == 0
    assert desk.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert len(desk.pdf()) > 1000
