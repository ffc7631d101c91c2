"""Seen in Chromium: confirming who one is keeps what was typed, and a session that is
ended elsewhere is out.
"""

import json

import pytest
from django.contrib.sessions.serializers import JSONSerializer
from django.core import signing
from playwright.sync_api import expect

from common.credentials import read_credentials
from tests.browser.conftest import sign_in
from tests.push import SUBSCRIPTION

pytestmark = pytest.mark.slow

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Safari/604.1"
# As Django signs what a session holds.
SALT = "django.contrib.sessions.SessionStore"
KEYS = {name: SUBSCRIPTION[name] for name in ("p256dh", "auth")}
GIVEN = {"endpoint": SUBSCRIPTION["endpoint"], "keys": KEYS}


def session_of(page):
    return next(
        one["value"]
        for one in page.context.cookies()
        if one["name"].startswith("session")
    )


def let_time_pass(product, page, *, minutes):
    """Make the last reauthentication that much older."""
    secret = read_credentials(product.stack.data / "secrets.env")["SECRET_KEY"]
    signed = {"key": secret, "salt": SALT, "serializer": JSONSerializer}
    where = "WHERE session_key = %s"
    [(stored,)] = product.sql(
        f"SELECT session_data FROM django_session {where}", session_of(page)
    )
    data = signing.loads(stored, **signed)
    for proof in data["account_authentication_methods"]:
        proof["at"] -= minutes * 60
    changed = signing.dumps(data, compress=True, **signed)
    product.sql(
        f"UPDATE django_session SET session_data = %s {where}",
        changed,
        session_of(page),
    )


@pytest.fixture
def open_as(open_page, product):
    """Return a function that signs somebody in, in a new browser."""

    def open_as(prefix, **options):
        page = open_page(**options)
        sign_in(page, product, prefix)
        return page

    return open_as


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_sensitive_act_asks_for_the_password_fits_a_phone_leads_back_and_is_done_after_it(
    open_as, product, scripts
):
    page = open_as("ADMIN", java_script_enabled=scripts)
    let_time_pass(product, page, minutes=11)
    # Stopping does not wait.
    page.goto(product.known["DASHBOARD_URL"] + "/stop/")
    page.get_by_label("Reason").fill("A flood of refunds")
    page.get_by_role("button", name="Stop", exact=True).click()
    release = page.get_by_role("button", name="Release").first
    release.click()
    page.wait_for_url("**/reauthenticate/**")
    page.get_by_role("link", name="Cancel").click()
    page.wait_for_url("**/stop/")
    release.click()
    expect(page.get_by_label("Password")).to_be_focused()
    before = session_of(page)
    page.watch.expected += ["422"]
    page.get_by_label("Password").fill("not this one")
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_role("alert")).to_contain_text("This is not your password")
    page.get_by_label("Password").fill(product.known["ADMIN_PASSWORD"])
    page.get_by_role("button", name="Confirm").click()
    if not scripts:
        page.get_by_role("button", name="Continue").click()
    page.wait_for_url("**/stop/")
    expect(page.get_by_text("Nothing is stopped.")).to_be_visible()
    assert session_of(page) != before


def test_session_that_is_ended_elsewhere_is_told_of_it_at_once(open_as, product):
    # Distinguishes this browser from Ben's in other tests.
    lost = open_as("REVIEWER2", user_agent=PHONE)
    desk = open_as("REVIEWER2")
    lost.watch.expected += ["401"]
    lost.wait_for_selector("[data-stream='open']", state="attached")
    desk.goto(product.known["DASHBOARD_URL"] + "/people/me/sessions/")
    desk.get_by_role("button", name="End the session of Safari on iPhone").click()
    expect(lost.get_by_text("You are signed out.")).to_be_visible()


def test_back_after_signing_out_shows_nothing(open_as, product, ana):
    row = product.hold(ana)
    page = open_as("REVIEWER2")
    page.goto(product.page(row))
    subject = page.get_by_role("heading", name=row["subject"])
    expect(subject).to_be_visible()
    # Where the browser requests the message frame meanwhile, or again, it gets the
    # sign-in page, which refuses framing.
    page.watch.expected += ["Framing", "csp-report"]
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/accounts/login/**")
    page.go_back()
    expect(subject).to_have_count(0)
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_browser_is_switched_on_once_its_worker_can_be_pushed_to(open_as, product):
    page = open_as("REVIEWER")
    # Instead of a push service on the internet; it refuses what browsers refuse.
    page.add_init_script(
        "const { register } = ServiceWorkerContainer.prototype;"
        "ServiceWorkerContainer.prototype.register = async function (path) {"
        "  return (window.worker = await register.call(this, path)); };"
        "PushManager.prototype.subscribe = async () => {"
        "  if (!window.worker.active) throw new DOMException('no active Service Worker', 'AbortError');"
        f"  return {{ toJSON: () => ({json.dumps(GIVEN)}) }}; }};"
    )
    page.goto(product.known["DASHBOARD_URL"] + "/account/notifications/")
    page.get_by_role("button", name="Notify me in this browser").click()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("button", name="Remove")).to_have_count(0)
