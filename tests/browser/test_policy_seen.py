"""The policy in Chromium: from a ready-made policy over the editor and the rehearsal to
the active version.
"""

import json

import pytest
from playwright.sync_api import expect

from tests.desk import some_words

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ana")]


@pytest.fixture(autouse=True)
def no_policy(product):
    """Leave no policy behind: the other tests of the product decide by one approval."""
    yield
    product.sql("DELETE FROM policy_policyversion WHERE state = 'draft'")
    product.sql(
        "UPDATE policy_policyversion SET state = 'retired', retired_at = now() WHERE state = 'active'"
    )
    product.sql("DELETE FROM policy_workcalendar WHERE name = 'Holidays only'")


@pytest.mark.parametrize(
    "options", [{}, {"java_script_enabled": False}], ids=["scripts", "no scripts"]
)
def test_admin_goes_from_a_ready_made_policy_to_an_active_one(
    open_as, product, ana, options
):
    row = product.hold(
        ana,
        f"Refund {some_words()[:40]}",
        body=f"We refund 1,250.00 EUR today. {some_words()}",
    )
    week = json.dumps([[[0, 1440]]] * 7)
    product.sql(
        "INSERT INTO policy_workcalendar (name, zone, weekly, holidays) VALUES ('Holidays only', 'UTC', "
        f"'{week}', '{{}}')"
    )
    admin = open_as("ADMIN", **options)
    home = product.known["DASHBOARD_URL"]
    admin.goto(f"{home}/policy/")
    admin.get_by_role("link", name="Begin with a ready-made policy").click()
    admin.get_by_role("link", name="Small team").click()
    expect(admin.locator(".policy-rule")).to_have_count(4)
    admin.get_by_role("button", name="Load it as a draft").click()
    expect(admin.locator(".policy-draft .policy-rule")).to_have_count(4)

    admin.set_viewport_size({"width": 390, "height": 844})
    admin.get_by_role("link", name="Change Large amounts").click()
    admin.get_by_label("An amount of at least").fill("500")
    admin.get_by_role("button", name="Preview").click()
    sentence = "When a message names an amount of at least 500, then 2 approvals of any reviewer are needed."
    expect(admin.locator("#preview")).to_contain_text(sentence)
    hours = admin.locator(
        "details", has=admin.get_by_text("Only within these hours", exact=True)
    )
    hours.locator("summary").click()
    hours.get_by_label("Calendar").select_option("Holidays only")
    admin.get_by_role("button", name="Preview").click()
    expect(admin.locator("#preview")).to_contain_text(
        "sent only within the hours of Holidays only."
    )
    admin.get_by_role("button", name="Save in the draft").click()
    expect(admin.locator(".policy-draft")).to_contain_text(sentence[:-1])

    admin.goto(f"{home}/policy/")
    admin.get_by_role("link", name="Rehearse and activate").click()
    expect(admin.locator("#rehearsal")).to_have_text("In the last 30 days")
    expect(admin.get_by_role("link", name=row["subject"])).to_be_visible()
    admin.get_by_role("button", name="Activate version").click()
    expect(admin.locator("main")).to_contain_text("Active rules")
    expect(admin.locator(".policy-sides")).to_contain_text(sentence[:-1])
    expect(admin.locator(".policy-draft")).to_have_count(0)
