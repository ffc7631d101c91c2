"""Two reviewers at their own browsers at once: who has it, who asks, who was first, and
what stops all.
"""

import json

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


def hide(page):
    """Make the page believe that its window is hidden."""
    page.evaluate(
        "() => { Object.defineProperty(document, 'hidden', { configurable: true, get: () => true });"
        " document.dispatchEvent(new Event('visibilitychange')); }"
    )


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


def test_message_is_snoozed_by_key_and_an_open_menu_stays_while_another_decides(
    two, message, product, ana
):
    page, other = two
    product.hold(ana)
    # The list must show the message that opens next; otherwise it is read again,
    # without the snoozed one.
    page.reload()
    expect(page.locator("body[data-stream=open]")).to_be_attached()
    open_message(page, message)
    page.keyboard.press("s")
    expect(page.locator("#snooze button").first).to_be_focused()
    page.keyboard.press("1")
    expect(page.locator("#put-off")).to_contain_text("Snoozed until")
    expect(page.locator("#message")).not_to_have_attribute("data-message", message)
    expect(row(page, message)).to_contain_text("Snoozed")
    expect(row(other, message)).not_to_contain_text("Snoozed")

    open_message(other, message)
    other.keyboard.press("s")
    expect(other.locator("#snooze button").first).to_be_focused()
    fingerprint = other.locator("#message").get_attribute("data-fingerprint")
    assert ana.decide(message, "approve", fingerprint).status_code == 302
    news = other.locator("#message-notes [data-news]")
    expect(news).to_contain_text("Approved by Ana Ferreira")
    # The menu is not covered: the update is offered instead.
    expect(news.get_by_role("button", name="Show it")).to_be_visible()
    expect(other.locator("#snooze button").first).to_be_focused()
    other.keyboard.press("Escape")
    expect(other.locator("#decide [data-key=a]")).to_have_count(0)


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


NOTIFIES = """
window.told = []; window.asked = 0;
class Notification extends EventTarget {
  static permission = "default";
  static async requestPermission() { window.asked += 1; Notification.permission = "granted"; return "granted"; }
  constructor(title, options) { super(); window.told.push({ title, ...options }); }
  close() {}
}
window.Notification = Notification;
"""


def test_browser_notifies_of_waiting_messages_only_when_asked_to_and_while_no_page_is_visible(
    open_page, signed_in, product, message
):
    page = open_page(storage_state=signed_in)
    # Headless Chromium has no notifications of its own.
    page.add_init_script(NOTIFIES)
    page.goto(product.known["DASHBOARD_URL"] + "/queue/")
    expect(page.locator("body[data-stream=open]")).to_be_attached()
    assert page.evaluate("window.asked") == 0
    page.get_by_role("button", name="Notify me of waiting messages").click()
    expect(page.locator("#tell-me")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("window.asked") == 1
    product.send("Seen while it came")
    expect(page.locator("#new")).to_be_visible()
    hide(page)
    product.send(
        "Came while nobody looked", body="The word of the message is heliotrope."
    )
    product.wait_for(
        lambda: page.evaluate("window.told.length"), timeout=60, what="the notification"
    )
    notifications = page.evaluate("window.told")
    assert [one["title"] for one in notifications] == ["Came while nobody looked"]
    assert notifications[0]["body"].endswith("wants to send it")
    assert "heliotrope" not in json.dumps(notifications)
