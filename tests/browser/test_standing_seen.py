"""Standing approvals in Chromium: one admin asks, another accepts, and what it approves
can be stopped.
"""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.test_second_admin_seen import second_admin  # noqa: F401 - a fixture

pytestmark = pytest.mark.slow

TEXT = "Hello Dana, your refund for order {} is on its way."
# Copies of an approved message, one a day, with its decision and verdict.
COPIES = """
WITH copied AS (
  INSERT INTO mirror_message
  SELECT (jsonb_populate_record(one, jsonb_build_object(
    'id', nextval(pg_get_serial_sequence('mirror_message', 'id')), 'public_id', gen_random_uuid(), 'state', 'delivered',
    'upstream_id', 'PAST-' || gen_random_uuid(), 'held_at', now() - n * interval '1 day',
    'changed_at', now() - n * interval '1 day'))).*
  FROM mirror_message one, generate_series(1, 24) n WHERE one.upstream_id = %s RETURNING id, held_at
), decided AS (
  INSERT INTO approvals_decision
  SELECT (jsonb_populate_record(one, jsonb_build_object(
    'id', nextval(pg_get_serial_sequence('approvals_decision', 'id')), 'message_id', copied.id, 'state', 'applied',
    'reference', substr(md5(copied.id::text), 1, 10), 'recorded_at', copied.held_at, 'changed_at', copied.held_at))).*
  FROM approvals_decision one JOIN mirror_message m ON m.id = one.message_id, copied WHERE m.upstream_id = %s
)
INSERT INTO approvals_verdict
SELECT (jsonb_populate_record(one, jsonb_build_object(
  'id', nextval(pg_get_serial_sequence('approvals_verdict', 'id')), 'message_id', copied.id, 'live', false,
  'seconds_shown', 9))).*
FROM approvals_verdict one JOIN mirror_message m ON m.id = one.message_id, copied WHERE m.upstream_id = %s
"""
# What the desk made of the first, of its copies too.
REVIEWS = """
UPDATE approvals_review copy SET rules = one.rules, policy_facts = one.policy_facts
FROM approvals_review one JOIN mirror_message m ON m.id = one.message_id, mirror_message copied
WHERE m.upstream_id = %s AND copied.id = copy.message_id AND copied.upstream_id LIKE 'PAST-%%'
  AND copied.shape = m.shape
"""


def make_past(product, ana, number=4000):
    """Let Ana have approved such messages for weeks: one at the desk, and copies of it."""
    # Whom nobody has written to before is a finding, and a message with one belongs to
    # no class.
    approve(product, ana, product.hold(ana, "Hello", metadata={}))
    row = approve(product, ana, send(product, ana, number))
    product.sql(COPIES, *[row["upstream_id"]] * 3)
    product.sql(REVIEWS, row["upstream_id"])


def approve(product, ana, row):
    """Approve a message, wait until it was sent, and return its row."""
    assert ana.decide(row["id"], "approve", row["fingerprint"]).status_code == 302
    left = "SELECT 1 FROM mirror_message WHERE upstream_id = %s AND state IN ('approved', 'sent', 'delivered')"
    product.wait_for(
        lambda: product.sql(left, row["upstream_id"]), timeout=90, what="the approval"
    )
    return row


def send(product, ana, number):
    """Send a message of the class, and return its row once the desk shows it."""
    return product.hold(
        ana, f"Your refund for order {number}", body=TEXT.format(number), metadata={}
    )


@pytest.fixture
def past(product, ana):
    make_past(product, ana)
    yield
    product.sql("UPDATE people_organisationsettings SET standing_since = NULL")
    product.sql(
        "UPDATE policy_standingapproval SET state = 'ended', ended_at = now() WHERE state = 'active'"
    )


def accept(page, base):
    page.goto(f"{base}/changes/")
    page.get_by_role("button", name="Accept").click()
    expect(page.get_by_role("region", name="Ended")).to_contain_text("accepted by")
    expect(page.get_by_role("button", name="Accept")).to_have_count(0)


def ask(page, reason):
    expect(page.get_by_role("heading", name="Ask a second admin?")).to_be_visible()
    page.get_by_label("Reason").fill(reason)
    page.get_by_role("button", name="Ask a second admin").click()
    expect(page.locator(".waiting-change")).to_contain_text(
        "Waiting for a second admin"
    )


@pytest.mark.usefixtures("past")
def test_two_admins_sign_and_a_reviewer_stops_what_was_approved(
    open_as,
    second_admin,  # noqa: F811 - the fixture
    product,
    ana,
):
    ida = open_as("ADMIN")
    sam = second_admin
    base = product.known["DASHBOARD_URL"]
    ida.goto(f"{base}/policy/standing/")
    ida.get_by_role("button", name="Switch on").click()
    ask(ida, "The refunds are always right.")
    accept(sam, base)

    ida.goto(f"{base}/policy/standing/")
    expect(ida.locator(".standing-list")).to_contain_text(
        "approved unchanged in a median of 9 s"
    )
    ida.get_by_role("button", name="Look at it").first.click()
    ida.get_by_label("Recipients").fill("dana@northwind.example")
    ida.get_by_role("button", name="Rehearse these terms").click()
    expect(ida.locator("#rehearsal")).to_contain_text(
        "Nothing that people did not approve"
    )
    ida.get_by_role("button", name="Ask a second admin").click()
    ask(ida, "It saves an hour a day.")
    # Sam has no scripts: what waits shows the proposal and the record.
    sam.goto(f"{base}/changes/")
    sam.get_by_role("link", name="See the proposal").click()
    expect(sam.get_by_text("It saves an hour a day.")).to_be_visible()
    expect(sam.locator("#rehearsal")).to_contain_text(
        "Nothing that people did not approve"
    )
    accept(sam, base)
    ida.goto(f"{base}/policy/standing/")
    expect(ida.locator(".standing-list").first).to_contain_text(
        "Ida Lindqvist and Sam Okoro"
    )

    # The next one is no sample.
    product.sql("UPDATE policy_standingapproval SET met = 1, sample_at = 0")
    row = sent(product, number=3999)
    desk = open_as("REVIEWER2", color_scheme="dark")
    desk.goto(f"{base}/queue/")
    desk.get_by_role("link", name="see them").click()
    item = desk.locator(f'#list .item[data-message="{row}"]')
    # Before midnight it leaves on the next day.
    expect(item).to_contain_text(
        re.compile(
            r"version 1 \(signed by Ida Lindqvist and Sam Okoro\)\. Leaves (?:at|on)"
        )
    )
    item.click()
    expect(desk.locator("#decide")).to_contain_text("unless somebody stops it.")
    desk.locator("#decide").get_by_role("button", name="Stop").click()
    expect(desk.locator("#message")).to_contain_text("Stopped.")
    expect(desk.locator("#message")).to_contain_text("Undone by Ben Okafor.")
    desk.goto(f"{base}/queue/")
    expect(desk.locator(f'#list .item[data-message="{row}"]')).to_be_visible()


def sent(product, *, number):
    """Send one, and return its public id once a standing approval has approved it."""
    upstream_id, _ = product.send(
        f"Your refund for order {number}", body=TEXT.format(number), metadata={}
    )
    found = "SELECT m.public_id FROM mirror_message m JOIN approvals_decision d ON d.message_id = m.id"
    waits = f"{found} WHERE m.upstream_id = %s AND d.standing_id IS NOT NULL AND d.state = 'recorded'"
    rows = product.wait_for(
        lambda: product.sql(waits, upstream_id),
        timeout=90,
        what="the standing approval",
    )
    public_id = rows[0][0]
    return str(public_id)
