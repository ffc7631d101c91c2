"""Alerts, seen in Chromium: a signed webhook is added, gets a route with its preview,
and a delivery is sent again.
"""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


def test_admin_sets_up_a_program_and_resends_failed_deliveries(open_as, product):
    admin, desk = open_as("ADMIN"), product.known["DASHBOARD_URL"]
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
    section.get_by_role("button", name="Switch off").click()
    expect(section.get_by_text("Switched off since")).to_be_visible()
    section.get_by_role("button", name="Switch on again").click()
    section.get_by_role("link", name="Change").click()
    admin.get_by_role("link", name="Add a route").click()
    admin.get_by_label("a message is delivered").check()
    admin.get_by_role("button", name="Preview").click()
    expect(admin.get_by_text("events would have been sent there")).to_be_visible()
    expect(
        admin.get_by_role("group", name="The event when a message is delivered")
    ).to_contain_text('"type": "email.delivered"')
    admin.get_by_role("button", name="Add the route").click()
    expect(
        admin.locator("#routes .chip", has_text="A message is delivered")
    ).to_be_visible()
    product.sql(
        "INSERT INTO alerts_delivery (kind, destination_id, action, trace, state, attempts, last_error,"
        " next_attempt_at, event_id, request, answer, entry) SELECT 'event', destination.id, 'message.held', '',"
        " 'failed', 3, 'It answered 500.', now(), 'evt_1', '{\"data\": {\"privacy\": \"headers\"}}', 'No',"
        " 1 FROM alerts_destination destination WHERE name = 'Billing' ORDER BY id DESC LIMIT 1"
    )
    admin.goto(f"{desk}/alerts/log/?state=failed")
    admin.get_by_role("link", name="Details").first.click()
    expect(admin.get_by_text('"privacy": "headers"')).to_be_visible()
    admin.get_by_role("button", name="Send again").click()
    expect(admin.get_by_text("It is sent again.")).to_be_visible()
