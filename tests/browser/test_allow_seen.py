"""Seen in Chromium: a recipient who is on no allowlist, allowed for seven days from the
message, and the mail sent.
"""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import sign_in
from tests.browser.looking import is_narrow
from tests.desk import TIMEOUT

pytestmark = pytest.mark.slow

MALLORY = "mallory@outside.example"
# As the pages write it; inserted into the table, it applies at once without the gate.
LIST = """
INSERT INTO policy_allowlist (mailbox_id, kind, mode, version, changed_at)
SELECT id, 'restriction', 'enforce', 1, now() FROM mirror_mailbox WHERE upstream_id = %s RETURNING id, mailbox_id
"""
THERE = """
SELECT l.id FROM policy_allowlist l JOIN mirror_mailbox m ON m.id = l.mailbox_id
WHERE m.upstream_id = %s AND l.kind = 'restriction'
"""
ENTRY = """
INSERT INTO policy_allowentry (allowlist_id, pattern, note, added_at, hits)
VALUES (%s, 'northwind.example', '', now(), 0)
"""
ADMIN = """
INSERT INTO people_grant (person_id, role, mailbox_id, created_at)
SELECT id, 'admin', %s, now() FROM people_person WHERE email = %s RETURNING id
"""
BEHIND = (
    "SELECT count(*) FROM policy_gatelist WHERE mailbox_id = %s AND pushed < wanted"
)


@pytest.fixture
def held(product, ana):
    """A message of the second mailbox to two people, of whom the list there names one.
    Ana is an admin of it.
    """
    known = product.known
    row = product.hold(
        ana,
        to=["dana@northwind.example", MALLORY],
        **{"from": known["MAILBOX2_ADDRESS"]},
    )
    # Left by an earlier test.
    for (there,) in product.sql(THERE, known["MAILBOX2_ID"]):
        take_away(product, there)
    [(made, mailbox)] = product.sql(LIST, known["MAILBOX2_ID"])
    product.sql(ENTRY, made)
    [(grant,)] = product.sql(ADMIN, mailbox, known["REVIEWER_EMAIL"])
    yield row
    take_away(product, made)
    # What was pushed to the gate is removed too.
    product.sql("DELETE FROM people_grant WHERE id = %s", grant)
    product.sql(
        "UPDATE policy_gatelist SET wanted = wanted + 1, next_attempt_at = now() WHERE mailbox_id = %s",
        mailbox,
    )
    product.wait_for(
        lambda: product.sql(BEHIND, mailbox) == [(0,)],
        timeout=TIMEOUT,
        what="the gate without the list",
    )


def take_away(product, allowlist):
    for table, column in (
        ("allowchange", "allowlist_id"),
        ("allowentry", "allowlist_id"),
        ("allowlist", "id"),
    ):
        product.sql(f"DELETE FROM policy_{table} WHERE {column} = %s", allowlist)


def test_recipient_off_the_list_is_allowed_from_the_message_and_the_mail_is_approved_then(
    open_page, product, held
):
    page = open_page()
    # Again, because allowing an address requires reauthentication.
    sign_in(page, product, "REVIEWER")
    page.goto(product.page(held))
    people = page.locator("#addresses")
    expect(
        people.get_by_text("allowed by northwind.example on the list for")
    ).to_be_visible()
    expect(people.get_by_text("Off the allowlist")).to_be_visible()
    notice = page.locator("#off-list")
    expect(notice).to_contain_text(
        f"{MALLORY} is on no allowlist for {product.known['MAILBOX2_ADDRESS']}"
    )
    approve = page.get_by_role("button", name="Approve and send")
    expect(approve).to_have_count(0)
    for width in (768, 360, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        assert is_narrow(page), width
    notice.get_by_role("button", name="Allow this address for 7 days").click()
    expect(page.get_by_text("may write to")).to_be_visible()
    expect(people.get_by_text(f"allowed by {MALLORY} on the list for")).to_be_visible()
    assert product.mails(held["subject"]) == []
    approve.click()
    expect(page.get_by_role("button", name="Undo").first).to_be_visible()
    # In its five seconds to undo, the gate gets the list; here it is due at once.
    behind = (
        "SELECT 1 FROM policy_gatelist JOIN mirror_message USING (mailbox_id) WHERE "
        "pushed < wanted AND public_id = %s"
    )
    product.wait_for(
        lambda: not product.sql(behind, held["id"]),
        timeout=TIMEOUT,
        what="the list at the gate",
    )
    # The button appears before the decision is recorded.
    mine = "message_id = (SELECT id FROM mirror_message WHERE public_id = %s)"
    due = f"UPDATE approvals_decision SET due_at = now() WHERE state = 'recorded' AND {mine} RETURNING id"
    product.wait_for(
        lambda: product.sql(due, held["id"]), timeout=TIMEOUT, what="the decision"
    )
    product.wait_for(
        lambda: product.mails(held["subject"]),
        timeout=TIMEOUT,
        what="the mail at its recipients",
    )
