"""Seen in Chromium: a recipient who is on no allowlist, allowed for seven days from the message, and the mail sent."""

import psycopg
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import sign_in
from tests.browser.looking import is_narrow
from tests.desk import TIMEOUT

pytestmark = pytest.mark.slow

MALLORY = "mallory@outside.example"
# As the pages write it; put into the table, it holds at once and no gate stands between.
LIST = """
INSERT INTO policy_allowlist (mailbox_id, kind, mode, version, changed_at)
SELECT id, 'restriction', 'enforce', 1, now() FROM approvals_mailbox WHERE upstream_id = %s RETURNING id, mailbox_id
"""
THERE = """
SELECT l.id FROM policy_allowlist l JOIN approvals_mailbox m ON m.id = l.mailbox_id
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
# What the gate got of it is taken back too.
AWAY = (
    "DELETE FROM policy_allowchange WHERE allowlist_id = %(list)s",
    "DELETE FROM policy_allowentry WHERE allowlist_id = %(list)s",
    "DELETE FROM policy_allowlist WHERE id = %(list)s",
    "DELETE FROM people_grant WHERE id = %(grant)s",
    "UPDATE policy_gatelist SET wanted = wanted + 1, next_attempt_at = now() WHERE mailbox_id = %(mailbox)s",
)
BEHIND = "SELECT count(*) FROM policy_gatelist WHERE mailbox_id = %s AND pushed < wanted"


@pytest.fixture
def held(product):
    """A message of the second mailbox to two people, of whom the list there names one. Ana is an admin of it."""
    known = product.known
    fields = {"from": known["MAILBOX2_ADDRESS"], "to": ["dana@northwind.example", MALLORY]}
    upstream_id, subject = product.send(**fields)
    row = product.held(product.reviewer(), upstream_id)
    with psycopg.connect(known["DATABASE_URL"], autocommit=True) as database:
        # Of a test before this one.
        for there in database.execute(THERE, [known["MAILBOX2_ID"]]).fetchall():
            for statement in AWAY[:3]:
                database.execute(statement, {"list": there[0]})
        made, mailbox = database.execute(LIST, [known["MAILBOX2_ID"]]).fetchone()
        database.execute(ENTRY, [made])
        (grant,) = database.execute(ADMIN, [mailbox, known["REVIEWER_EMAIL"]]).fetchone()
        yield row, subject
        for statement in AWAY:
            database.execute(statement, {"list": made, "grant": grant, "mailbox": mailbox})

        def is_gone():
            return database.execute(BEHIND, [mailbox]).fetchone() == (0,)

        product.wait_for(is_gone, timeout=TIMEOUT, what="the gate without the list")


@pytest.mark.parametrize("scripts", [True, False])
def test_recipient_off_the_list_is_allowed_from_the_message_and_the_mail_is_approved_then(
    open_page, product, held, scripts
):
    row, subject = held
    page = open_page(java_script_enabled=scripts)
    # Anew: an address is allowed by somebody who has just proved who they are.
    sign_in(page, product, "REVIEWER")
    page.goto(product.page(row))
    people = page.locator("#addresses")
    expect(people.get_by_text("allowed by northwind.example on the list for")).to_be_visible()
    expect(people.get_by_text("Off the allowlist")).to_be_visible()
    notice = page.locator("#off-list")
    expect(notice).to_contain_text(f"{MALLORY} is on no allowlist for {product.known['MAILBOX2_ADDRESS']}")
    approve = page.get_by_role("button", name="Approve and send")
    expect(approve).to_have_count(0)
    for width in (768, 360, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        if scripts:
            assert is_narrow(page), width
    notice.get_by_role("button", name="Allow this address for 7 days").click()
    expect(page.get_by_text("may be written to from")).to_be_visible()
    expect(people.get_by_text(f"allowed by {MALLORY} on the list for")).to_be_visible()
    assert product.mails(subject) == []
    approve.click()
    expect(page.get_by_role("button", name="Undo").first).to_be_visible()
    with psycopg.connect(product.known["DATABASE_URL"]) as database:
        database.execute("UPDATE approvals_decision SET due_at = now() WHERE state = 'recorded'")
    product.wait_for(lambda: product.mails(subject), timeout=TIMEOUT, what="the mail at its recipients")
