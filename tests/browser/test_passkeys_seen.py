"""Passkeys in a browser, with Chromium's virtual authenticator: made, used to sign in,
used as a second step.
"""

import re

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.slow, pytest.mark.stack]


@pytest.fixture
def home(product):
    """The desk under a host name: passkeys are bound to one."""
    return product.known["DASHBOARD_URL"].replace("127.0.0.1", "localhost")


@pytest.fixture
def newcomer(product):
    """A new person, whom no other test uses, and their address; removed afterwards."""
    email = "passkeys@yourteam.example"
    product.sql(
        "INSERT INTO people_person (email, name, password, is_active, time_zone, keys_off)"
        " SELECT %s, 'Kim Tanaka', password, true, 'UTC', false FROM people_person WHERE email = %s",
        email,
        product.known["REVIEWER_EMAIL"],
    )
    yield email
    product.sql(
        "DELETE FROM mfa_authenticator USING people_person p WHERE user_id = p.id AND email = %s",
        email,
    )
    product.sql(
        "UPDATE people_person SET is_active = false, email = 'was-' || id || email WHERE email = %s",
        email,
    )


@pytest.fixture
def page(open_page, home):
    """A browser with a virtual authenticator that verifies its user."""
    page = open_page()
    # The desk under another name, and its live stream.
    page.watch._hosts |= {
        host.replace("127.0.0.1", "localhost") for host in page.watch._hosts
    }
    device = page.context.new_cdp_session(page)
    device.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
    }
    options |= {"isUserVerified": True, "automaticPresenceSimulation": True}
    made = device.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    page.nobody_is_there = lambda: device.send(
        "WebAuthn.setUserVerified",
        {"authenticatorId": made["authenticatorId"], "isUserVerified": False},
    )
    return page


def sign_in(page, home, product, email):
    page.goto(f"{home}/accounts/login/?next=/people/me/factors/")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(product.known["REVIEWER_PASSWORD"])
    page.get_by_role("button", name="Sign in", exact=True).click()


def sign_out(page):
    # The stream of the page may ask once more before the page is left.
    page.watch.expected.append("401")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/accounts/login/")


def add_passkey(page, name):
    page.get_by_role("link", name="Add a passkey").click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create passkey").click()
    page.wait_for_url("**/people/me/factors/")


def test_passkey_is_made_signs_in_without_the_password_and_is_removed(
    page, home, product, newcomer
):
    sign_in(page, home, product, newcomer)
    add_passkey(page, "Kim's laptop")
    row = page.locator(".lines li", has_text="Kim's laptop")
    expect(row).to_contain_text("Not used yet")
    sign_out(page)
    page.goto(f"{home}/accounts/login/?next=/people/me/factors/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url("**/people/me/factors/")
    expect(row).to_contain_text("Last used")
    row.get_by_text("Change").click()
    row.get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)


def test_after_the_password_the_passkey_is_asked_and_a_device_that_says_no_signs_nobody_in(
    page, home, product, newcomer
):
    sign_in(page, home, product, newcomer)
    add_passkey(page, "")
    sign_out(page)
    sign_in(page, home, product, newcomer)
    expect(page.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url("**/people/me/factors/")
    sign_out(page)
    page.nobody_is_there()
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("No passkey was used")
    expect(page).to_have_url(re.compile("/accounts/login/$"))
