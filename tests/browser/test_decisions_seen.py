"""Unusual decisions in Chromium: changed while read, two at once, requested changes, in
doubt.
"""

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ana")]

BODY = "Please pay **EUR 12,400** by Friday.\n\nKind regards"
OTHER = BODY.replace("12,400", "21,400")


def held(product, ana, **fields):
    """A held message of the mailbox whose decisions can be undone for five seconds."""
    upstream_id, subject = product.send(
        **{"from": product.known["MAILBOX2_ADDRESS"], "body": BODY, **fields}
    )
    return product.held(ana, upstream_id), upstream_id, subject


def change(product, ana, upstream_id):
    """Change the row of a held message: the API cannot edit one."""
    product.sql(
        "UPDATE gateway_email SET markdown = %s WHERE id = %s", OTHER, upstream_id
    )
    [(connection,)] = product.sql(
        "SELECT connection_id FROM mirror_message WHERE upstream_id = %s", upstream_id
    )
    ana.post(f"/connections/{connection}/read/", ana.get("/connections/"))
    query = "SELECT count(*) FROM mirror_revision r JOIN mirror_message m ON m.id = r.message_id"
    query += " WHERE m.upstream_id = %s"
    product.wait_for(
        lambda: product.sql(query, upstream_id) == [(2,)],
        timeout=90,
        what="the new version in the mirror",
    )


def test_message_that_changes_while_it_is_read_is_shown_again_before_it_is_decided(
    desk, product, ana
):
    row, upstream_id, _ = held(product, ana)
    desk.goto(product.page(row))
    desk.wait_for_selector("[data-stream='open']", state="attached")
    desk.keyboard.press("r")
    desk.keyboard.type("Too much")
    change(product, ana, upstream_id)
    expect(
        desk.locator("#message-notes").get_by_text(
            "This message changed while you had it open"
        )
    ).to_be_visible()
    # Nothing is replaced while it is read: body and reason stay until the reader loads
    # the changes.
    expect(
        desk.frame_locator("#message iframe").get_by_text("EUR 12,400")
    ).to_be_visible()
    desk.get_by_role("button", name="Show what changed").click()
    expect(desk.locator("#changed ins")).to_contain_text("21,400")
    expect(desk.locator("#changed del")).to_contain_text("12,400")
    expect(
        desk.frame_locator("#message iframe").get_by_text("EUR 21,400")
    ).to_be_visible()
    expect(desk.locator("#reject-reason")).to_have_value("Too much")
    expect(desk.locator("#reject-reason")).to_be_hidden()
    desk.keyboard.press("a")
    read = desk.locator("#read-again")
    expect(read).to_be_focused()
    assert ana.find(upstream_id)["decision"] is None
    read.check()
    desk.keyboard.press("a")
    expect(desk.get_by_role("button", name="Undo")).to_be_visible()
    desk.keyboard.press("z")
    expect(
        desk.locator("#message").get_by_text(
            "Undone. The message is held again; nothing was sent."
        )
    ).to_be_visible()
