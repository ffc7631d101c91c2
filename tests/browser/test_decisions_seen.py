"""Unusual decisions in Chromium: changed while read, two at once, requested changes, in
doubt.
"""

import uuid

import pytest
from playwright.sync_api import expect

from tests.browser.looking import is_narrow

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


def fits_a_phone(page):
    page.set_viewport_size({"width": 320, "height": 700})
    return is_narrow(page)


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


def test_changed_message_is_refused_and_shown_without_scripts_and_without_a_stream(
    open_page, signed_in, product, ana
):
    row, upstream_id, _ = held(product, ana)
    address = product.page(row)
    plain = open_page(java_script_enabled=False, storage_state=signed_in)
    plain.watch.expected += ["409"]
    plain.goto(address)
    polling = open_page(storage_state=signed_in)
    polling.watch.expected += ["ERR_FAILED"]
    polling.route("**/live/**", lambda route: route.abort())
    polling.goto(address)
    expect(polling.locator("body[data-stream=polling]")).to_be_attached()
    change(product, ana, upstream_id)
    plain.get_by_role("button", name="Approve and send").click()
    expect(
        plain.locator("#message")
        .get_by_text("The message changed after you opened it")
        .first
    ).to_be_visible()
    expect(plain.locator("#changed ins")).to_contain_text("21,400")
    plain.get_by_role("button", name="Approve and send").click()
    assert ana.find(upstream_id)["decision"] is None, (
        "approved without saying that the changes were read"
    )
    # As when the tab becomes visible again, which requests the pulse at once.
    with polling.expect_response(
        lambda response: "/pulse/" in response.url and response.status == 200
    ):
        polling.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(
        polling.locator("#message-notes").get_by_text(
            "This message changed while you had it open"
        )
    ).to_be_visible(timeout=20_000)
    plain.locator("#read-again").check()
    assert fits_a_phone(plain)
    plain.get_by_role("button", name="Approve and send").click()
    expect(plain.get_by_role("button", name="Undo")).to_be_visible()


def test_doubt_ends_by_a_persons_word_and_the_mail_leaves_once(desk, product, ana):
    row, upstream_id, subject = held(product, ana)
    # As after a lost answer and two reads that showed the message held.
    product.sql(
        "INSERT INTO approvals_decision (outcome, reason, reference, state, rule, due_at, attempt, may_have_left,"
        " seen_held, seen_absent, upstream_answer, explanation, given_by_id, message_id, revision_id)"
        " SELECT 'approve', '', %s, 'unknown', '', now(), 1, true, 2, 0, '{}', 'MultiMail did not answer in time.',"
        " p.id, m.id, m.revision_id FROM mirror_message m, people_person p"
        " WHERE m.upstream_id = %s AND p.email = %s",
        uuid.uuid4().hex[:10].upper(),
        upstream_id,
        product.known["REVIEWER_EMAIL"],
    )
    desk.goto(f"{product.known['DASHBOARD_URL']}/queue/?tab=unknown")
    desk.get_by_role("link", name=subject).click()
    expect(
        desk.locator("#message").get_by_text(
            "Still held after two checks: send it again?"
        )
    ).to_be_visible()
    assert fits_a_phone(desk)
    desk.get_by_role("button", name="Check again").click()
    # What the reading shows may replace the page's notice at once; the ledger keeps it.
    asked = lambda: (  # noqa: E731
        "message.asked_about" in {entry["action"] for entry in ana.trace(row["id"])}
    )
    product.wait_for(asked, timeout=90, what="the question to MultiMail")
    desk.get_by_role("button", name="Send again").click()
    expect(desk.locator("#decide").get_by_text("Delivered")).to_be_visible()
    assert len(product.mails(subject)) == 1
