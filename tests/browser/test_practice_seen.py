"""Practice messages in Chromium: two admins switch them on, reviewers are told, and
whoever lets one pass learns it.
"""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.test_second_admin_seen import second_admin

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ana")]
__all__ = ["second_admin"]


@pytest.fixture
def tidy(product):
    """No practice messages afterwards."""
    yield
    for table in ("practicesetting", "practicenotice"):
        product.sql(f"DELETE FROM practice_{table}")
    product.sql(
        "UPDATE mirror_message SET state = 'cancelled' WHERE is_local AND state = 'held'"
    )
    product.sql("DELETE FROM people_organisationsettings")


def let_pass(page, product, message):
    """Approve it, on the page for high risk where the desk has seen its fault."""
    if page.locator("#decide form.approve").count():
        page.locator("#decide form.approve button").first.click()
        return
    page.locator("#decide a[href*='/approve/']").first.click()
    for tick in page.locator(".read-it input").all():
        tick.check()
    [(recipient,)] = product.sql(
        "SELECT recipients ->> 0 FROM mirror_message WHERE public_id = %s", message
    )
    page.locator("#typed").fill(recipient.rpartition("@")[2].strip("> "))
    page.locator("#typed").press("Enter")


def test_two_admins_switch_it_on_and_whoever_lets_one_pass_learns_it(
    desk, open_as, second_admin, product, ana, tidy
):
    home = product.known["DASHBOARD_URL"]
    ida = open_as("ADMIN")
    text = "Hello Dana,\n\nyou get 120.00 EUR back within a week."
    # At the mailbox's own domain no recipient is exchanged, which would need the page
    # for high risk.
    to = f"dana@{product.known['MAILBOX_ADDRESS'].partition('@')[2]}"
    row = product.hold(ana, "Refund of order 99", text=text, to=to)
    ana.decide(row["id"], "approve", row["fingerprint"])
    left = "SELECT 1 FROM mirror_message WHERE public_id = %s AND state IN ('approved', 'sent', 'delivered')"
    product.wait_for(
        lambda: product.sql(left, row["id"]), timeout=60, what="the message to be sent"
    )

    ida.goto(f"{home}/policy/practice/")
    ida.watch.expected += ["422"]
    ida.get_by_label("One in so many").fill("1")
    ida.get_by_role("button", name="Switch on").click()
    expect(ida.locator("#one-in-wrong")).to_contain_text("from 2 to 10,000")
    ida.get_by_label("One in so many").fill("2")
    ida.get_by_role("button", name="Switch on").click()
    expect(ida.get_by_text("Such a change takes two admins")).to_be_visible()
    ida.get_by_label("Reason").fill("To keep attention awake")
    ida.get_by_role("button", name="Ask a second admin").click()
    expect(ida.locator(".waiting-change")).to_contain_text(
        "Practice messages in all mailboxes"
    )
    second_admin.goto(f"{home}/changes/")
    second_admin.get_by_role("button", name="Accept").click()
    ida.goto(f"{home}/policy/practice/")
    expect(ida.locator(".lines").first).to_contain_text("one in 2 held messages")

    desk.goto(f"{home}/queue/")
    expect(desk.locator("#practice-told")).to_contain_text("never sent")
    desk.get_by_role("button", name="I know").click()
    expect(desk.locator("#practice-told")).to_have_count(0)
    desk.goto(f"{home}/policy/practice/")
    expect(desk.locator("#content")).to_contain_text("no test of one person")

    product.hold(ana, "An ordinary one")
    product.hold(ana, "Another ordinary one")
    planted = "SELECT public_id FROM mirror_message WHERE is_local AND state = 'held'"
    product.wait_for(
        lambda: product.sql(planted), timeout=60, what="a practice message"
    )
    [(message,)] = product.sql(planted)
    desk.goto(f"{home}/queue/{message}/")
    expect(desk.locator("#message")).not_to_contain_text("ractice")
    if desk.locator("#message").get_attribute("data-next"):
        # The next message is prepared, and would be painted at the press.
        desk.locator("[data-letter='here']").wait_for(state="attached")
    let_pass(desk, product, message)
    expect(desk).to_have_url(re.compile(str(message)))
    expect(desk.locator("#local-note")).to_contain_text(
        "This was a practice message. Nothing was sent."
    )
    expect(desk.locator("#local-note")).to_contain_text("easily missed")
    ida.goto(f"{home}/policy/practice/")
    expect(ida.locator("main")).to_contain_text("Let pass")
    ida.get_by_role("button", name="Switch off").click()
    expect(ida.locator("#toasts")).to_contain_text("Practice messages are off")


def test_report_shows_teams_and_people_only_once_an_admin_allows_it(
    open_as, product, ana, tidy
):
    home = product.known["DASHBOARD_URL"]
    ida = open_as("ADMIN")
    row = product.hold(ana)
    ana.decide(row["id"], "reject", row["fingerprint"], "Not this one")
    ida.goto(f"{home}/audit/reports/")
    ida.get_by_role("link", name="Who decided what").click()
    expect(ida.get_by_role("table", name="By person")).to_have_count(0)
    ida.get_by_label("What allows it").fill("Works agreement of 3 May, section 7")
    ida.get_by_role("button", name="I confirm that it is allowed").click()
    expect(ida.get_by_role("table", name="By person")).to_contain_text("Ana Ferreira")
    ida.get_by_role("button", name="Show teams only").click()
    expect(ida.get_by_role("table", name="By person")).to_have_count(0)
