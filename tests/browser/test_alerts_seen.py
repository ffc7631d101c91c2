"""Alerts, seen in Chromium: a signed webhook is added and gets a route with its preview."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


def test_admin_sets_up_a_program(open_as, product):
    admin = open_as("ADMIN")
    desk = product.known["DASHBOARD_URL"]
    admin.goto(f"{desk}/alerts/add/")
    admin.get_by_role("link", name="Discord channel, by the bot").click()
    expect(admin.get_by_label("Id of the channel")).to_be_visible()
    admin.get_by_role("link", name="Signed webhook").click()
    # Fields of other kinds are hidden.
    expect(admin.get_by_label("Id of the channel")).to_be_hidden()
    admin.get_by_label("Name", exact=True).fill("Billing")
    admin.locator("#url").fill("https://hooks.yourteam.example/countersign")
    admin.get_by_role("button", name="Add destination").click()
    expect(admin.locator("#secret")).to_contain_text("whsec_")
    admin.get_by_role("link", name="I have copied it").click()
    section = admin.locator(
        "section.card", has=admin.get_by_role("heading", name="Billing")
    )
    section.get_by_role("link", name="Change").click()
    admin.get_by_role("link", name="Add a route").click()
    admin.get_by_label("a message is delivered").check()
    admin.get_by_role("button", name="Preview").click()
    expect(
        admin.get_by_role("group", name="The event when a message is delivered")
    ).to_contain_text('"type": "email.delivered"')
    admin.get_by_role("button", name="Add the route").click()
    expect(
        admin.locator("#routes .chip", has_text="A message is delivered")
    ).to_be_visible()
