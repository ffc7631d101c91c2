"""Two admins in Chromium: one asks to loosen a mailbox, the other accepts; on a phone,
and without scripts.
"""

import uuid

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow

PASSWORD = "a gannet counts slow wagons"


@pytest.fixture
def second_admin(open_as, open_page, product):
    """Another admin of everything, who has just joined, without scripts; all is as it
    was afterwards.
    """
    ida = open_as("ADMIN")
    base = product.known["DASHBOARD_URL"]
    ida.goto(base + "/people/invite/")
    email = f"sam-{uuid.uuid4().hex[:8]}@yourteam.example"
    ida.get_by_label("Email address").fill(email)
    ida.get_by_label("Admin").check()
    ida.get_by_role("button", name="Make link").click()
    link = ida.locator("#made-link").inner_text()
    sam = open_page(java_script_enabled=False)
    sam.goto(link)
    sam.get_by_label("Your name").fill("Sam Okoro")
    sam.get_by_label("Password", exact=True).fill(PASSWORD)
    sam.get_by_label("Repeat the password").fill(PASSWORD)
    sam.get_by_role("button", name="Join").click()
    expect(sam.locator("#rail")).to_contain_text("Sam Okoro")
    yield sam
    product.sql("DELETE FROM people_pendingchange")
    product.sql("DELETE FROM people_organisationsettings")
    product.sql("UPDATE mirror_mailbox SET loads_pictures = false")
    # The form shows whole seconds, and saves what it shows.
    product.set_undo_window("300 milliseconds")
    product.sql("UPDATE people_person SET is_active = false WHERE email = %s", email)


def test_one_admin_asks_and_another_accepts(open_as, second_admin, product):
    ida = open_as("ADMIN")
    sam = second_admin
    base = product.known["DASHBOARD_URL"]
    ida.watch.expected += ["409"]
    ida.goto(base + "/changes/")
    ida.get_by_role("button", name="Switch on").click()
    expect(ida.get_by_role("button", name="Switch off")).to_be_visible()
    # A looser setting of a mailbox asks for a reason, and changes nothing.
    [[mailbox]] = product.sql(
        "SELECT id FROM mirror_mailbox WHERE address LIKE 'support@%%' LIMIT 1"
    )
    ida.goto(f"{base}/mailboxes/{mailbox}/")
    ida.get_by_label("Remote pictures on request").check()
    ida.locator("form[action$='/windows/']").get_by_role("button", name="Save").click()
    expect(ida.get_by_role("heading", name="Ask a second admin?")).to_be_visible()
    expect(ida.get_by_text("Sam Okoro")).to_be_visible()
    ida.get_by_label("Reason").fill("Receipts have pictures")
    ida.get_by_role("button", name="Ask a second admin").click()
    expect(ida.locator(".waiting-change")).to_contain_text("Waiting for a second admin")
    expect(ida.get_by_label("Remote pictures on request")).not_to_be_checked()
    expect(ida.locator("#rail a[href='/changes/'] .count")).to_have_text("1")
    # Who asked can only withdraw it.
    ida.get_by_role("link", name="See it").click()
    expect(ida.get_by_role("button", name="Withdraw")).to_be_visible()
    expect(ida.get_by_role("button", name="Accept")).to_have_count(0)

    sam.goto(base + "/changes/")
    expect(sam.get_by_text("Receipts have pictures")).to_be_visible()
    sam.get_by_role("button", name="Accept").click()
    expect(sam.get_by_text("No change is waiting")).to_be_visible()
    ida.goto(f"{base}/mailboxes/{mailbox}/")
    expect(ida.get_by_label("Remote pictures on request")).to_be_checked()
    expect(ida.locator(".waiting-change")).to_have_count(0)
