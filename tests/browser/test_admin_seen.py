"""Seen in Chromium: one primary button on each admin page, and an allowlist enforced
with what it would block.
"""

import re
import uuid

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from tests.admin_doors import (
    ACCOUNT_DOORS,
    ALERT_DOORS,
    CONNECTION_DOORS,
    OWN_DOORS,
    PEOPLE_DOORS,
)
from tests.browser.conftest import sign_in
from tests.showcase import showcase
from tests.walk import BARE, PATHS, POST_ONLY, PUBLIC

pytestmark = pytest.mark.slow

POLICY = {
    *(
        "attention",
        "stop",
        "alerts",
        "connections",
        "rules-findings",
        "rule",
        "own-words",
        "own-word",
        "add-own-word",
    ),
    *(
        "usual-texts",
        "allowlists",
        "allowlist",
        "allowlist-history",
        "allow-entry",
        "import-allowlist",
        "refusals",
    ),
    *("reports", "report-rights"),
}
# Needs a link that is shown once, or is no page.
LEFT_OUT = {"link-discord"}
DOORS = {
    **OWN_DOORS,
    **PEOPLE_DOORS,
    **CONNECTION_DOORS,
    **ACCOUNT_DOORS,
    **ALERT_DOORS,
}
PAGES = sorted((DOORS.keys() | POLICY) - POST_ONLY - PUBLIC - BARE - LEFT_OUT)
# The first row of each kind; the showcase adds more of each, which are shown in lists.
ROWS = {
    "mailbox_id": "SELECT min(id) FROM mirror_mailbox WHERE upstream_id = %(mailbox)s",
    "connection_id": "SELECT min(connection_id) FROM mirror_mailbox WHERE upstream_id = %(mailbox)s",
    "person_id": "SELECT id FROM people_person WHERE email = %(reviewer)s",
    "destination_id": "SELECT min(id) FROM alerts_destination WHERE removed_at IS NULL",
    "alert_id": "SELECT max(id) FROM alerts_delivery",
    "entry_id": "SELECT max(id) FROM policy_allowentry",
    "word_id": "SELECT max(id) FROM approvals_ownword",
}
LIST = (
    "INSERT INTO policy_allowlist (mailbox_id, kind, mode, version, changed_at)"
    " VALUES (%s, 'bypass', 'monitor', 1, now()) RETURNING id"
)
ENTRY = (
    "INSERT INTO policy_allowentry (allowlist_id, pattern, note, added_at, hits) "
    "VALUES (%s, 'x.example', '', now(), 3)"
)
GATES = "DELETE FROM policy_gatelist g USING mirror_mailbox m WHERE m.id = g.mailbox_id AND m.connection_id = %s"
WORD = (
    "INSERT INTO approvals_ownword (mailbox_id, text, spelling, looks_in, points, changed_at)"
    " VALUES (%s, 'tulip', 'tulip', '{text}', 9, now()) RETURNING id"
)


@pytest.fixture(scope="module")
def shown(product, ana):
    """Messages in every state, an entry of a list that holds nothing back, and a word
    of the same mailbox.
    """
    row = product.hold(ana, f"Model {uuid.uuid4().hex[:8]}")
    with showcase(product.known["DATABASE_URL"], like=row["upstream_id"]) as made:
        [(listed,)] = product.sql(LIST, made.empty)
        product.sql(ENTRY, listed)
        [(word,)] = product.sql(WORD, made.empty)
        yield made
        product.sql("DELETE FROM approvals_ownword WHERE id = %s", word)
        product.sql("DELETE FROM policy_allowentry WHERE allowlist_id = %s", listed)
        product.sql("DELETE FROM policy_allowlist WHERE id = %s", listed)
        product.sql(GATES, made.connection)


def arguments(product):
    """What stands in the addresses of the pages, by its name in the URLs."""
    known = product.known
    values = {"mailbox": known["MAILBOX_ID"], "reviewer": known["REVIEWER_EMAIL"]}
    found = {}
    for name, query in ROWS.items():
        parts = re.split(r"%\((\w+)\)s", query)
        [(found[name],)] = product.sql(
            "%s".join(parts[::2]), *(values[one] for one in parts[1::2])
        )
    keys = product.call("GET", "/v1/api-keys", key="ADMIN_KEY").json()["api_keys"]
    hooks = product.call("GET", "/v1/webhooks", key="ADMIN_KEY").json()["webhooks"]
    found |= {"key_id": keys[0]["id"], "subscription_id": hooks[0]["id"]}
    return found | {
        "rule": "first_contact",
        "scope": "all",
        "kind": "restriction",
        "text_kind": "reject",
    }


MAILBOX = "SELECT min(id) FROM mirror_mailbox WHERE upstream_id = %s"
MAIL = (
    "SELECT count(*) FROM mirror_message WHERE mailbox_id = %s AND direction <> 'inbound' AND NOT sandbox"
    " AND revision_id IS NOT NULL AND held_at > now() - interval '30 days'"
)


def test_enforcing_says_how_many_messages_it_blocks_and_allows_their_recipients(
    open_as, product, ana
):
    for to in (
        ["lee@contoso.example", "kim@contoso.example"],
        ["mallory@outside.example"],
    ):
        product.hold(ana, to=to, **{"from": product.known["MAILBOX2_ADDRESS"]})
    [(mailbox,)] = product.sql(MAILBOX, product.known["MAILBOX2_ID"])
    [(number,)] = product.sql(MAIL, mailbox)
    page = open_as("ADMIN")
    page.watch.expected += ["422"]
    page.goto(
        f"{product.known['DASHBOARD_URL']}/allowlists/mailbox-{mailbox}/restriction/"
    )
    page.get_by_role("radio", name="Enforce").check()
    page.get_by_role("region", name="Mode").get_by_role(
        "button", name="Preview changes"
    ).click()
    enforce, boxes = (
        page.locator(".allow-sum .btn.go"),
        page.locator("#blocked").get_by_role("checkbox"),
    )
    expect(enforce).to_have_text(f"Enforce, blocking {number}")
    expect(page.locator("#rehearsal")).to_contain_text(
        f"{number} more messages blocked"
    )
    ticked = page.locator("#blocked input:checked")
    chosen = ticked.count()
    assert chosen > 0
    for box in boxes.all():
        box.uncheck()
    page.get_by_label("Note").fill("Known customers")
    page.get_by_role("button", name="Allow these").click()
    expect(page.get_by_text("Select at least one address or domain.")).to_be_visible()
    expect(page.get_by_label("Note")).to_have_value("Known customers")
    assert ticked.count() == 0
    assert enforce.inner_text() == f"Enforce, blocking {number}"
    for box in boxes.all():
        box.check()
    page.get_by_role("button", name="Allow these").click()
    expect(enforce).to_have_text("Enforce, blocking none")
    expect(page.get_by_role("region", name="Added")).to_contain_text("Known customers")
    # Of a domain that is allowed as a whole, the addresses are not added too.
    expect(page.get_by_role("region", name="Added")).not_to_contain_text("@")


def test_every_admin_page_has_at_most_one_primary_button(open_page, product, shown):
    page = open_page()
    values = arguments(product)
    found = {}
    # Just now, so that no page asks who it is instead.
    sign_in(page, product, "ADMIN")
    for name in PAGES:
        kwargs = {key: values[key] for key in re.findall(r"<\w+:(\w+)>", PATHS[name])}
        asked = f"{reverse(name, kwargs=kwargs)}{'?to=autonomous' if name == 'loosen-mailbox' else ''}"
        answer = page.goto(product.known["DASHBOARD_URL"] + asked)
        buttons = page.locator(
            "main :is(.btn.go, .btn.strong, .btn.careful):visible"
        ).all_inner_texts()
        if (answer.status, "reauthenticate" in page.url) != (200, False) or len(
            buttons
        ) > 1:
            found[name] = (answer.status, page.url, buttons)
    assert found == {}
