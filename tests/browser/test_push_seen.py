"""Notifications of a browser: switched on and off, and compared with what the browser
itself has. Headless Chromium has no push service, so its PushManager is replaced.
"""

import pytest
from playwright.sync_api import expect

from tests.push import SUBSCRIPTION

pytestmark = [pytest.mark.slow, pytest.mark.stack]

ON = "Notifications are on in this browser."
OFF = "Notifications are off in this browser."
# As a browser does, it keeps one subscription over reloads, and makes each a new one.
PUSH_MANAGER = f"""
  const stored = () => {{
    const text = localStorage.getItem("subscription");
    if (!text) return null;
    const unsubscribe = async () => localStorage.removeItem("subscription");
    return {{ ...JSON.parse(text), toJSON: () => JSON.parse(text), unsubscribe }};
  }};
  PushManager.prototype.getSubscription = async () => stored();
  PushManager.prototype.subscribe = async (options) => {{
    if (!options.userVisibleOnly || !options.applicationServerKey) throw new TypeError();
    if (localStorage.getItem("denied")) throw new DOMException("No", "NotAllowedError");
    const endpoint = "https://push.example/send/" + crypto.randomUUID();
    const keys = {{ p256dh: "{SUBSCRIPTION["p256dh"]}", auth: "{SUBSCRIPTION["auth"]}" }};
    localStorage.setItem("subscription", JSON.stringify({{ endpoint, keys }}));
    return stored();
  }};
"""


@pytest.fixture
def page(open_as, product):
    page = open_as("REVIEWER2")
    page.add_init_script(PUSH_MANAGER)
    page.goto(f"{product.known['DASHBOARD_URL']}/account/notifications/")
    yield page
    # Nothing is pushed to what is not there.
    product.sql(
        "UPDATE alerts_destination SET switched_off_at = now(), url = '', secret = '' WHERE kind = 'web_push'"
    )


def turn_on(page):
    page.get_by_role("button", name="Notify me in this browser").click()


def subscription(page):
    return page.evaluate("localStorage.getItem('subscription')")


def test_browser_is_switched_on_and_off_and_says_what_it_has_itself(page):
    here = page.locator("[data-push-here]")
    browsers = page.locator("[data-endpoint]")
    expect(here).to_have_text(OFF)
    turn_on(page)
    expect(here).to_have_text(ON)
    expect(browsers).to_have_count(1)
    page.reload()
    expect(here).to_have_text(ON)
    # Its data is cleared: the desk still lists it, but nothing would arrive.
    page.evaluate("localStorage.clear()")
    page.reload()
    expect(here).to_have_text(OFF)
    expect(browsers).to_have_count(1)
    turn_on(page)
    expect(here).to_have_text(ON)
    expect(browsers).to_have_count(2)
    # Switched off at the desk, it is ended in the browser too.
    for left in (1, 0):
        browsers.last.get_by_role("button", name="Remove").click()
        expect(browsers).to_have_count(left)
        expect(here).to_have_text(OFF)
    assert subscription(page) is None


def test_next_person_in_a_browser_ends_what_the_one_before_switched_on(
    page, cookies_of
):
    here = page.locator("[data-push-here]")
    turn_on(page)
    expect(here).to_have_text(ON)
    page.context.clear_cookies()
    page.context.add_cookies(cookies_of("ADMIN")["cookies"])
    page.reload()
    expect(here).to_have_text(OFF)
    assert subscription(page) is None


def test_browser_that_denies_says_what_to_do(page):
    page.evaluate("localStorage.setItem('denied', 'yes')")
    turn_on(page)
    expect(page.locator("#push-on [role=alert]")).to_contain_text("Allow it in the")
    expect(page.locator("[data-push-here]")).to_have_text(OFF)
