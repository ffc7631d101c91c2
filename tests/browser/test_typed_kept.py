"""What somebody typed survives a sign-in in another tab, and a reload, in every form."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import sign_in

pytestmark = pytest.mark.usefixtures("ana")
# The last: the frame of the preview, once it is signed in again.
LOST = ["401", "Framing", "csp-report", "ERR_BLOCKED", "ERR_ABORTED", "405"]


def signed_in_elsewhere(page, product):
    """Let the session end, and sign in in a new tab of the same browser: Django then
    gives forms another token.
    """
    page.context.clear_cookies(name=re.compile("session"))
    tab = page.context.new_page()
    sign_in(tab, product, "REVIEWER2")
    tab.close()


def test_form_goes_on_after_a_sign_in_in_another_tab(open_as, product, ana, hold):
    row = hold()
    page = open_as("REVIEWER2")
    page.watch.expected += LOST
    page.goto(f"{product.page(row)}edit/")
    page.get_by_label("Text, in Markdown").fill("A better text")
    page.get_by_label("Note to the agent").fill("A long and careful note")
    page.context.clear_cookies(name=re.compile("session"))
    send = page.get_by_role("button", name="Request changes with this text")
    send.click()
    expect(page.locator("#signed-out")).to_contain_text("Nothing was saved. What")
    signed_in_elsewhere(page, product)
    send.click()
    page.wait_for_url(lambda url: "/edit/" not in url)
    product.wait_for(
        lambda: ana.find(row["upstream_id"]) is None, timeout=60, what="the end"
    )
    question = """
        SELECT reason FROM approvals_decision d JOIN mirror_message m ON m.id = d.message_id
        WHERE m.public_id = %s
    """
    [(reason,)] = product.sql(question, row["id"])
    assert reason.startswith("A long and careful note")


@pytest.mark.slow
@pytest.mark.parametrize("scripts", [True, False])
def test_verdict_with_an_old_token_is_sent_by_one_more_press(
    open_as, product, ana, hold, scripts
):
    row = hold()
    page = open_as("REVIEWER2", java_script_enabled=scripts)
    page.watch.expected += LOST
    page.goto(product.page(row))
    # Nothing asks for the new token before the press.
    page.route("**/pulse/**", lambda route: route.abort())
    # What scripts report with the old token is refused, and not offered again.
    page.watch.expected += ["ERR_FAILED", "403"]
    page.locator("#reject > summary").click()
    page.locator("#reject-reason").fill("Not true as far as I know")
    signed_in_elsewhere(page, product)
    page.get_by_role("button", name="Reject with this reason").click()
    expect(page.get_by_role("heading", name="Send it again?")).to_be_visible()
    expect(page.locator(".card")).to_contain_text("Not true as far as I know")
    assert ana.find(row["upstream_id"])["decision"] is None
    page.get_by_role("button", name="Continue").click()
    product.wait_for(
        lambda: ana.find(row["upstream_id"]) is None, timeout=60, what="the end"
    )


@pytest.mark.slow
def test_text_is_there_again_after_a_reload_until_it_is_sent(desk, product, hold):
    row = hold()
    desk.on("dialog", lambda dialog: dialog.accept())
    desk.goto(product.page(row))
    reason = desk.locator("#reject-reason")
    comment = desk.locator("#comment-text")
    desk.locator("#reject > summary").click()
    reason.fill("Not this one")
    comment.fill("Ask Ben")
    desk.reload()
    expect(reason).to_have_value("Not this one")
    expect(reason).to_be_visible()
    expect(comment).to_have_value("Ask Ben")
    comment.press("Control+Enter")
    expect(desk.locator("#comments")).to_contain_text("Comment posted")
    desk.reload()
    expect(reason).to_have_value("Not this one")
    expect(comment).to_have_value("")
    desk.goto(f"{product.page(row)}edit/")
    text = desk.get_by_label("Text, in Markdown")
    text.fill("Another text")
    desk.reload()
    expect(text).to_have_value("Another text")
    # Who comes by a link begins anew.
    desk.goto(product.page(row))
    expect(desk.locator("#comment-text")).to_be_visible()
    expect(reason).to_have_value("")
    kept = desk.evaluate("JSON.stringify(sessionStorage)")
    assert "Another text" not in kept


@pytest.mark.slow
def test_secret_is_never_kept(open_as, product):
    page = open_as("ADMIN")
    page.goto(product.known["DASHBOARD_URL"] + "/connections/add/?place=other")
    for field in page.locator("form[method=post] input[type=password]").all():
        field.evaluate(
            "field => { field.value = 'mm_live_secret'; field.dispatchEvent(new Event('input', {bubbles: true})) }"
        )
    page.get_by_label("Name", exact=True).fill("Acme mail")
    kept = page.evaluate("JSON.stringify(sessionStorage)")
    assert "Acme mail" in kept
    assert "mm_live_secret" not in kept
