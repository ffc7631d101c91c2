"""An invitation in Chromium: the link that is shown once, joining by it, and the first
page.
"""

import uuid

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow

PASSWORD = "a gannet counts slow wagons"


def invite(page, product, who):
    page.goto(product.known["DASHBOARD_URL"] + "/people/")
    page.get_by_role("link", name="Invite a person").click()
    email = f"{who}-{uuid.uuid4().hex[:8]}@yourteam.example"
    page.get_by_label("Email address").fill(email)
    page.get_by_label("Name").fill("Nora")
    expect(page.get_by_label("Days that the link is valid")).to_have_value("7")
    page.get_by_label("Reviewer").check()
    page.get_by_role("button", name="Make link").click()
    return email, page.locator("#made-link").inner_text()


def test_invited_person_joins_signs_in_again_and_is_out_once_deactivated(
    open_as, open_page, product
):
    admin, guest, base = open_as("ADMIN"), open_page(), product.known["DASHBOARD_URL"]
    email, link = invite(admin, product, "nora")
    guest.goto(link)
    expect(guest.get_by_role("heading", name="Join the desk")).to_be_visible()
    guest.get_by_label("Your name").fill("Nora New")
    guest.get_by_label("Password", exact=True).fill(PASSWORD)
    guest.get_by_label("Repeat the password").fill(PASSWORD)
    guest.get_by_role("button", name="Join").click()
    guest.wait_for_url(base + "/")
    expect(guest.locator("#rail")).to_contain_text("Nora New")
    # The admin sees them, and the invitation is no longer open.
    admin.get_by_role("link", name="Done").click()
    expect(admin.locator(".people")).to_contain_text(email)
    expect(admin.locator("[id^=invitation-]", has_text=email)).to_have_count(0)

    guest.context.clear_cookies()
    guest.goto(base + "/queue/")
    guest.get_by_label("Email").fill(email)
    guest.get_by_label("Password", exact=True).fill(PASSWORD)
    guest.get_by_role("button", name="Sign in").click()
    guest.wait_for_url("**/queue/")
    admin.locator("tr", has_text=email).get_by_role("link", name="Nora New").click()
    admin.get_by_role("button", name="Deactivate Nora New").click()
    expect(admin.get_by_role("button", name="Reactivate Nora New")).to_be_visible()
    guest.watch.expected += ["401", "404"]
    guest.goto(base + "/queue/")
    expect(guest.get_by_role("heading", name="Sign in")).to_be_visible()
    # The link no longer works.
    guest.goto(link)
    expect(
        guest.get_by_role("heading", name="This link no longer works")
    ).to_be_visible()
