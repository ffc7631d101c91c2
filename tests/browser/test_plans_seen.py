"""Review plans in Chromium: an admin sets calendar, plan and duty; what is late stands
first, is assigned, extended.
"""

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ana")]


@pytest.fixture
def held(product, ana):
    """A held message that has waited for hours."""
    row = product.hold(ana, "A late one")
    yield row
    for table in ("ladderstep", "reviewplan", "dutyturn", "workcalendar"):
        product.sql(f"DELETE FROM policy_{table}")
    product.sql(
        "UPDATE approvals_review SET late_since = NULL, look_by = NULL, decide_by = NULL, watch_at = now()"
    )


def test_admin_sets_a_plan_and_the_reviewer_meets_what_is_late(
    desk, open_as, product, ana, held
):
    admin, home = open_as("ADMIN"), product.known["DASHBOARD_URL"]
    admin.goto(f"{home}/review-plans/")
    admin.get_by_role("link", name="Add a calendar").click()
    admin.get_by_label("Name").fill("Office")
    admin.get_by_label("Time zone").fill("lisbon")
    admin.watch.expected.append("422")
    admin.get_by_label("Sunday").fill("nine to five")
    admin.get_by_role("button", name="Save").click()
    expect(admin.locator("#day-6-wrong")).to_contain_text("Write hours as 09:00-12:00")
    admin.get_by_label("Sunday").fill("")
    admin.get_by_label("Holidays").fill("2030-12-25 Christmas Day")
    admin.get_by_role("button", name="Save").click()

    admin.get_by_label("Person").select_option(label="Ana Ferreira")
    admin.get_by_role("button", name="Put on duty").click()
    expect(admin.locator(".duty-turns")).to_contain_text("On duty now")
    admin.get_by_role("link", name="Plan for all mailboxes").click()
    admin.get_by_label("Decision, Others").fill("soon")
    admin.get_by_role("button", name="Save").click()
    expect(admin.locator("#problem")).to_contain_text("soon: Write it as 45 min")
    admin.get_by_label("Decision, Others").fill("30 min")
    admin.locator("#step-1-whom").select_option(label="Those on duty")
    product.sql(
        "UPDATE mirror_message SET held_at = now() - interval '2 hours' WHERE public_id = %s",
        held["id"],
    )
    admin.get_by_role("button", name="Save").click()
    expect(admin.get_by_text("decision in 30 min", exact=False)).to_be_visible()

    late = (
        "SELECT 1 FROM mirror_message JOIN approvals_review ON message_id = id"
        " WHERE public_id = %s AND late_since IS NOT NULL"
    )
    product.wait_for(
        lambda: product.sql(late, held["id"]), timeout=60, what="the message to be late"
    )
    desk.goto(f"{home}/queue/")
    first = desk.locator("#list .item").first
    expect(first).to_contain_text("A late one")
    expect(first).to_contain_text("Late by")
    desk.goto(f"{home}/queue/?tab=mine")
    expect(desk.locator("#list")).to_contain_text("A late one")
    desk.goto(home)
    expect(desk.locator(".panels h2").first).to_have_text("Late")

    desk.goto(product.page(held))
    desk.get_by_role("link", name="Assign or extend").click()
    desk.get_by_label("Assign to").select_option(label="Ben Okafor")
    desk.get_by_role("button", name="Assign", exact=True).click()
    expect(desk.locator("#claim")).to_contain_text("Assigned to Ben Okafor")
    desk.get_by_role("link", name="Assign or extend").click()
    desk.get_by_label("Reason").fill("The customer calls tomorrow.")
    desk.get_by_role("button", name="Extend the deadline").click()
    expect(desk.get_by_text("The deadline is extended.")).to_be_visible()
    expect(desk.locator("#message-bar")).not_to_contain_text("Late by")
    expect(desk.locator("#story")).to_contain_text("extended the deadline")
