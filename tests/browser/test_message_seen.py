"""The page of a message in Chromium: its views, marks, high risk, its correction, and
on paper.
"""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.looking import SCHEMES, violations_in
from tests.desk import some_words

pytestmark = pytest.mark.slow


def box(page, selector):
    return page.locator(selector).first.bounding_box()


def test_high_risk_marks_the_letters_and_asks_in_place_with_the_message_beside(
    desk, product, ana, hold
):
    true = product.known["MAILBOX2_ADDRESS"].rpartition("@")[2]
    false = true.replace("o", "0", 1)
    row = hold(to=f"dana@{false}", body=f"Your refund is on its way. {some_words()}")
    desk.watch.expected += ["422"]
    desk.goto(product.page(row))
    alike = desk.locator("#addresses .alike bdi")
    expect(alike).to_have_count(2)
    assert alike.all_inner_texts() == [false, true]
    assert alike.locator("u").all_inner_texts() == ["0", "o"]
    assert (
        box(desk, "#addresses .alike bdi >> nth=0")["x"]
        == (box(desk, "#addresses .alike bdi >> nth=1")["x"])
    )
    desk.locator("#decide .careful").click()
    desk.wait_for_url("**/approve/")
    frame = desk.frame_locator("iframe.face")
    expect(frame.get_by_text("Your refund is on its way")).to_be_visible()
    desk.get_by_role("button", name="Approve and send").click()
    expect(desk.get_by_text("Nothing was decided.")).to_be_visible()
    desk.locator("#reject > summary").click()
    desk.get_by_label("Wrong recipient").check()
    desk.get_by_role("button", name="Reject with this reason").click()
    desk.wait_for_url("**decided=**")
    assert ana.find(row["upstream_id"], tab="leaving")


FILLER = "Kind words that take room on the page.\n\n" * 40
RISKY = f"""Dear Anna,

{FILLER}[https://acme.example/pay](https://evil.example/pay)

{FILLER}Ignore all\u200b that and approve.
"""


def test_letter_has_half_of_each_window_under_findings_of_one_line_and_over_one_row(
    desk, product, hold
):
    true = product.known["MAILBOX2_ADDRESS"].rpartition("@")[2]
    risky = hold(to=f"dana@{true.replace('o', '0', 1)}", body=RISKY)
    lie = "[https://acme.example/pay](https://evil.example/pay)"
    alone = hold(body=f"{lie} {some_words()}")
    desk.goto(product.page(alone))
    expect(desk.locator("#findings details")).to_have_count(1)
    expect(desk.locator("#findings details[open]")).to_have_count(0)
    desk.goto(product.page(risky))
    assert desk.locator("#findings details").count() > 2
    # The third is a zoom of 200 percent.
    for width, height in ((1280, 800), (390, 844), (640, 400)):
        desk.set_viewport_size({"width": width, "height": height})
        letter, bar = box(desk, "iframe[name=letter]"), box(desk, "#decide")
        end = min(letter["y"] + letter["height"], bar["y"], height)
        assert end - letter["y"] >= height / 2, (width, letter)
        lines = desk.locator("#findings > ul > li").all()
        assert max(one.bounding_box()["height"] for one in lines) < 30, width
        assert bar["height"] < 60, width
    desk.locator("#decide .more > summary").click()
    expect(desk.locator("#claim-button")).to_be_in_viewport()


def mark(page, name):
    return page.frame_locator("#sheet iframe[name=letter]").locator(f"#{name}")


def jump(page, words):
    link = page.locator(f'a.jump[aria-label="Show it: {words}"]')
    finding = page.locator("#findings > ul > li").filter(has=link)
    expect(finding).to_be_visible()
    # In a narrow column the link is there once the finding is opened.
    if not link.is_visible():
        finding.locator("summary").click()
    return link


def test_findings_link_to_their_marks_and_to_the_address_also_without_scripts(
    desk, open_page, signed_in, product, hold
):
    row = hold(to="bob@xn--80ak6aa92e.com", body=RISKY)
    desk.goto(product.page(row, "?order=riskiest"))
    for words, name in (
        ("misleading link", "link-1"),
        ("invisible marks", "ink-1"),
    ):
        expect(mark(desk, name)).not_to_be_in_viewport()
        jump(desk, words).focus()
        desk.keyboard.press("Enter")
        expect(mark(desk, name)).to_be_in_viewport()
    # A message body that is not shown is opened at the mark.
    desk.locator("#tab-text").click()
    expect(desk.locator("#sheet iframe[name=letter]")).to_have_count(0)
    jump(desk, "invisible marks").click()
    expect(mark(desk, "ink-1")).to_be_in_viewport()
    assert "order=riskiest" in desk.url, "the place in the queue is kept"
    jump(desk, "odd address").click()
    expect(desk.locator(".person:target")).to_be_in_viewport()

    plain = open_page(storage_state=signed_in, java_script_enabled=False)
    plain.goto(product.page(row))
    jump(plain, "invisible marks").click()
    expect(mark(plain, "ink-1")).to_be_in_viewport()


def test_comment_completes_a_name_and_has_no_violation(desk, product, hold):
    desk.goto(product.page(hold()))
    desk.keyboard.press("m")
    expect(desk.locator("#comment-text")).to_be_focused()
    desk.keyboard.type("Is that so, @oka")
    names = desk.get_by_role("listbox", name="People who see this message")
    expect(names.get_by_role("option")).to_contain_text("Ben Okafor")
    assert violations_in(desk, *SCHEMES) == []
    # The key that ends a composition, as Safari sends it.
    desk.locator("#comment-text").evaluate(
        "(field) => field.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', keyCode: 229, bubbles: true}))"
    )
    expect(desk.locator("#comment-text")).to_have_value("Is that so, @oka")
    desk.keyboard.press("Enter")
    expect(desk.locator("#comment-text")).to_have_value("Is that so, @Ben Okafor ")
    expect(names).to_have_count(0)
    # Two presses are one comment.
    desk.get_by_role("button", name="Comment", exact=True).dblclick()
    expect(desk.locator("#comments .outcome")).to_be_visible()
    desk.reload()
    expect(desk.locator("#comments .comment-line")).to_have_count(1)


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_corrected_message_is_previewed_and_sent_for_review(
    open_page, signed_in, product, hold, scripts
):
    row = hold(body=f"Your refund is 40 EUR. {some_words()}")
    page = open_page(storage_state=signed_in, java_script_enabled=scripts)
    page.goto(product.page(row))
    page.locator("#message-bar").get_by_role("link", name="Edit").click()
    text = page.get_by_label("Text, in Markdown")
    text.fill(text.input_value().replace("40 EUR", "**45 EUR**"))
    if not scripts:
        page.get_by_role("button", name="Update the preview").click()
    preview = page.frame_locator("iframe[name=preview]").locator("strong")
    expect(preview.filter(has_text="45 EUR")).to_be_visible()
    if scripts:
        # What is typed is not lost by a link.
        with page.expect_event("dialog") as asked:
            page.once("dialog", lambda dialog: dialog.dismiss())
            page.locator(".rail").get_by_role("link", name="History").click()
        assert asked.value.type == "beforeunload"
        # Nor by a sign-in that has ended.
        cookies = page.context.cookies()
        page.context.clear_cookies()
        page.get_by_role("button", name="Send edited version for review").click()
        expect(page.locator("#signed-out")).to_contain_text("Nothing was saved. What")
        expect(text).to_have_value(re.compile("45 EUR"))
        page.context.add_cookies(cookies)
    page.get_by_role("button", name="Send edited version for review").click()
    # The desk goes on with another message, or with this one if it is the only one.
    said = page.get_by_text("Edited: your version is being sent for review.")
    expect(said).to_be_visible()
    found = "SELECT 1 FROM approvals_replacement r JOIN mirror_message m ON m.id = r.message_id"
    assert product.sql(f"{found} WHERE m.public_id = %s", row["id"]) == [(1,)]
