"""Seen in Chromium: an allowlist from its first entry to the gate, and what the gate
refuses allowed in one press.
"""

import pytest
from playwright.sync_api import expect

from tests.browser.looking import is_narrow
from tests.desk import TIMEOUT, some_words

pytestmark = pytest.mark.slow

MALLORY = "mallory@outside.example"
LEE = "lee@contoso.example"


@pytest.fixture
def lists(open_as, product):
    """The list of the second mailbox, which no other test uses; switched off and
    emptied afterwards.
    """
    page = open_as("ADMIN")
    page.goto(f"{product.known['DASHBOARD_URL']}/allowlists/")
    page.get_by_label("Open the list for").select_option(
        label=f"Mailbox {product.known['MAILBOX2_ADDRESS']}: allowed recipients"
    )
    page.get_by_role("button", name="Open", exact=True).click()
    page.wait_for_url("**/allowlists/mailbox-*/restriction/")
    url = page.url
    yield page
    page.goto(url)
    set_mode(page, "Off")
    for box in page.locator(".allow-entries input[name=remove]").all():
        box.check()
    if page.get_by_role("button", name="Remove selected").count():
        page.get_by_role("button", name="Remove selected").click()
        page.get_by_role("button", name="Save").click()
    wait_for_gate(page)


def set_mode(page, name):
    page.get_by_role("radio", name=name).check()
    page.get_by_role("region", name="Mode").get_by_role(
        "button", name="Preview changes"
    ).click()
    if page.locator(".allow-sum .btn.go").count():
        page.locator(".allow-sum .btn.go").click()
    else:
        page.go_back()
    page.wait_for_url("**/restriction/")


def wait_for_gate(page):
    """Wait until the page says that the gate has the current list."""
    gate = page.locator(".beside .gate")
    for _ in range(60):
        if gate.filter(has_text="At the gate since").count():
            return
        page.reload()
    raise AssertionError(gate.all_inner_texts())


def send(product, to):
    body = {
        "to": [to],
        "subject": some_words()[:40],
        "markdown": some_words(),
        "metadata": {"discord_user": "ana#1"},
    }
    return product.call(
        "POST", f"/v1/mailboxes/{product.known['MAILBOX2_ID']}/send", json=body
    )


def test_entry_is_previewed_saved_and_at_the_gate_and_what_is_refused_is_allowed_in_one_press(
    lists, product
):
    page = lists
    at = lists.url
    long = f"{'a' * 60}@{'b' * 60}.example"
    page.get_by_label("Addresses and domains, one a line").fill(f"{LEE}\n{long}\n*.com")
    page.get_by_role("textbox", name="Note").fill("The fair")
    page.locator("#add").get_by_role("button", name="Preview changes").click()
    expect(page.get_by_text("'*.com' is none of name@domain")).to_be_visible()
    expect(page.locator("#rehearsal")).to_contain_text("In the last 30 days")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".toasts")).to_contain_text("Saved as version")
    set_mode(page, "Enforce")
    wait_for_gate(page)
    assert send(product, LEE).status_code == 202
    assert send(product, MALLORY).status_code == 403

    def refused():
        page.goto(f"{product.known['DASHBOARD_URL']}/allowlists/refusals/")
        return page.get_by_text(MALLORY).count()

    product.wait_for(refused, timeout=TIMEOUT, what="the refusal on its page")
    page.get_by_role("button", name="Allow for 7 days").first.click()
    expect(page.get_by_role("heading", name=MALLORY)).to_be_visible()
    page.goto(at)
    wait_for_gate(page)
    assert send(product, MALLORY).status_code == 202
    # Nothing is covered, and nothing is cut off on a phone.
    for width in (1440, 768, 360):
        page.set_viewport_size({"width": width, "height": 800})
        assert is_narrow(page), width
        page.get_by_role("radio", name="Monitor").check()
        page.locator(".allow-entries input[name=remove]").first.check()
