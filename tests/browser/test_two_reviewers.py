"""Two reviewers at their own browsers at once: who has it, who asks, who was first, and
what stops all.
"""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


@pytest.fixture
def message(product, ana):
    """Return the desk's id of a new message that waits."""
    return str(product.hold(ana)["id"])


@pytest.fixture
def two(open_as, product, message):
    """Ana's page and Ben's page, each with the queue and an open stream."""
    pages = open_as("REVIEWER"), open_as("REVIEWER2")
    for page in pages:
        page.goto(product.known["DASHBOARD_URL"] + "/queue/")
        expect(page.locator("body[data-stream=open]")).to_be_attached()
    return pages


def row(page, message):
    return page.locator(f'#list .item[data-message="{message}"]')


def open_message(page, message):
    row(page, message).click()
    expect(page.locator(f'#message[data-message="{message}"]')).to_be_visible()


def test_claim_shows_at_once_and_can_be_taken_over_and_released(two, message):
    ana, ben = two
    open_message(ana, message)
    ana.keyboard.press("c")
    for element in (ana.locator("#claim"), row(ana, message)):
        expect(element).to_contain_text("Claimed by you")
    expect(row(ben, message)).to_contain_text("Claimed by Ana Ferreira")

    open_message(ben, message)
    # It prevents nobody from deciding.
    expect(ben.locator("#decide [data-key=a]")).to_be_visible()
    ben.watch.expected.append("409")
    ben.keyboard.press("c")
    expect(
        ben.get_by_role("button", name="Take over from Ana Ferreira")
    ).to_be_focused()
    expect(ana.locator("#claim")).to_contain_text("Claimed by you")
    ben.keyboard.press("Enter")
    expect(ben.locator("#claim")).to_contain_text("Claimed by you")
    for element in (ana.locator("#claim"), row(ana, message)):
        expect(element).to_contain_text("Claimed by Ben Okafor")
    ben.keyboard.press("c")
    for element in (ana.locator("#claim"), row(ana, message)):
        expect(element).not_to_contain_text("Claimed by")


def test_question_reaches_the_other_and_keeps_what_is_being_typed(two, message):
    ana, ben = two
    for page in two:
        open_message(page, message)
    # Other tests of this desk may have asked Ben, too.
    asked_before = int(ben.locator("[data-notices]").text_content() or 0)
    ben.keyboard.press("m")
    expect(ben.locator("#comment-text")).to_be_focused()
    ben.keyboard.type("half a thou")
    ana.keyboard.press("m")
    ana.keyboard.type("@Ben Okafor, is this theirs?")
    ana.keyboard.press("Control+Enter")
    expect(ana.locator("#comments .outcome")).to_contain_text(
        "Ben Okafor will see it under Mine"
    )
    expect(ana.locator("#comment-text")).to_have_value("")
    expect(ben.locator("#story .comment-line")).to_contain_text("is this theirs?")
    expect(ben.locator("#comment-text")).to_have_value("half a thou")
    expect(ben.locator("#comment-text")).to_be_focused()
    expect(ben.locator("[data-notices]")).to_have_text(str(asked_before + 1))
    ben.keyboard.type("ght")
    ben.keyboard.press("Control+Enter")
    expect(ben.locator("[data-notices]")).to_have_text(str(asked_before or ""))


def test_open_pages_say_at_once_that_the_switch_is_pulled_and_released(
    desk, open_as, product
):
    desk.wait_for_selector("[data-stream='open']", state="attached")
    page = open_as("ADMIN")
    page.goto(product.known["DASHBOARD_URL"] + "/stop/")
    try:
        page.get_by_label("Reason").fill("A flood of refunds")
        page.get_by_role("button", name="Stop", exact=True).click()
        banner = desk.get_by_role("region", name="Kill switch")
        expect(banner).to_contain_text("A flood of refunds")
        expect(banner).to_contain_text("are still sent")
    finally:
        page.goto(product.known["DASHBOARD_URL"] + "/stop/")
        page.get_by_role("button", name="Release").first.click()
    expect(banner).to_be_hidden()
