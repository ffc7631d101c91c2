"""Seen in Chromium: an API key that is shown once, a mailbox that is loosened as an agent asked, a webhook's log."""

import re
import uuid

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


@pytest.fixture
def admin(open_as, product):
    """Return a function that opens a path as Ida, who is admin."""

    def open_path(path):
        page = open_as("ADMIN")
        page.goto(product.known["DASHBOARD_URL"] + path)
        return page

    return open_path


def test_key_is_made_shown_once_and_revoked(admin, product):
    name = f"Bot {uuid.uuid4().hex[:8]}"
    page = admin("/keys/")
    page.get_by_role("link", name="New key").click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("checkbox", name="send").check()
    page.get_by_role("checkbox", name="oversight See held mail and decide it.").check()
    page.watch.expected = ["422", "409"]
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_role("alert").filter(has_text="approve its own mail")).to_be_visible()
    page.get_by_role("checkbox", name="oversight See held mail and decide it.").uncheck()
    page.get_by_role("button", name="Create key").click()
    text = page.locator("#secret").inner_text()
    assert re.fullmatch(r"mm_live_[0-9a-f]{40}", text)
    assert product.call("GET", "/v1/api-keys").status_code == 403
    product.known["NEW_KEY"] = text
    assert product.call("GET", "/v1/account", key="NEW_KEY").json()["scopes"] == ["send"]
    page.reload()
    expect(page.get_by_role("alert").filter(has_text="was sent before")).to_be_visible()
    assert text not in page.content()
    page.get_by_role("link", name="API keys").first.click()
    assert text not in page.content()
    page.get_by_role("link", name=name).click()
    page.get_by_role("link", name="Revoke").click()
    page.get_by_role("button", name="Revoke key").click()
    page.wait_for_url("**/keys/")
    assert product.call("GET", "/v1/account", key="NEW_KEY").status_code == 401
    del product.known["NEW_KEY"]


def test_mailbox_is_made_loosened_as_an_agent_asked_and_deleted(admin, product):
    local = f"box-{uuid.uuid4().hex[:8]}"
    page = admin("/mailboxes/")
    page.get_by_role("link", name="New mailbox").click()
    page.get_by_label("Address").fill(local)
    page.get_by_role("button", name="Create mailbox").click()
    page.wait_for_url(re.compile(r"/mailboxes/\d+/$"))
    made = next(
        box for box in product.call("GET", "/v1/mailboxes", key="ADMIN_KEY").json()["mailboxes"]
        if box["address"].startswith(f"{local}@")
    )  # fmt: skip
    path = f"/v1/mailboxes/{made['id']}"
    assert product.call("POST", f"{path}/request-upgrade", json={"target_mode": "monitored"}).ok
    page.goto(product.known["DASHBOARD_URL"] + "/mailboxes/")
    wish = page.get_by_role("listitem").filter(has_text="asks that").filter(has_text=made["address"])
    expect(wish).to_contain_text("Demo agent")
    wish.get_by_role("link", name="Review").click()
    expect(page.get_by_text(f"Mail from {made['address']} will be sent without review.")).to_be_visible()
    page.get_by_role("button", name="Loosen oversight").click()
    page.wait_for_url(re.compile(r"/mailboxes/\d+/$"))
    assert product.call("GET", path, key="ADMIN_KEY").json()["oversight_mode"] == "monitored"
    # Made stricter again at once, by the same form.
    page.get_by_role("radio", name="Sent mail waits").check()
    page.get_by_role("button", name="Change mode").click()
    expect(page.get_by_text("is stricter now")).to_be_visible()
    assert product.call("GET", path, key="ADMIN_KEY").json()["oversight_mode"] == "gated_send"
    page.get_by_role("link", name="Delete this mailbox").click()
    page.get_by_label("Type").fill(made["address"])
    page.get_by_role("button", name="Delete mailbox").click()
    page.wait_for_url("**/mailboxes/")
    expect(page.get_by_text("Gone at MultiMail")).to_be_visible()


def test_webhook_is_registered_tested_and_its_log_sends_again(admin, product):
    path = f"/{uuid.uuid4().hex[:8]}"
    page = admin("/webhooks/")
    page.get_by_role("link", name="New webhook").click()
    page.get_by_label("Name", exact=True).fill("Billing")
    page.get_by_label("Address").fill(f"http://127.0.0.1:{product.stack.hook_port}{path}")
    page.get_by_role("checkbox", name="message.pending_approval").check()
    expect(page.get_by_role("group", name="The event message.pending_approval")).to_contain_text('"to": "dana@')
    page.get_by_role("button", name="Register webhook").click()
    secret = page.locator("#secret").inner_text()
    assert secret.startswith("whsec_")
    page.get_by_role("link", name="I have copied it").click()
    page.get_by_role("button", name="Send a test").click()
    expect(page.locator(".sent").first).to_contain_text("webhook.test")
    assert secret not in page.content()
    expect(page.get_by_role("heading", level=1)).to_have_text("Billing")
    page.get_by_label("Name", exact=True).fill("Shop")
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Shop")
    page.get_by_role("link", name="Delete").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Delete Shop?")
    page.get_by_role("button", name="Delete webhook").click()
    page.wait_for_url("**/webhooks/")
    expect(page.get_by_text(path)).to_be_hidden()


def test_domain_is_added_with_its_records_checked_and_removed(admin, product):
    """Point 8: the page shows the DNS records; none of them names this machine."""
    name = f"{uuid.uuid4().hex[:8]}.example"
    page = admin("/domains/")
    page.get_by_label("Add a domain").first.fill("no domain")
    page.watch.expected = ["422"]
    page.get_by_role("button", name="Add domain").first.click()
    expect(page.get_by_role("alert").first).to_be_visible()
    page.get_by_label("Add a domain").first.fill(name)
    page.get_by_role("button", name="Add domain").first.click()
    domain = page.get_by_role("article", name=name)
    for record in ("v=DKIM1; k=rsa; p=", "v=spf1", "v=DMARC1"):
        expect(domain).to_contain_text(record)
    expect(domain).not_to_contain_text("127.0.0.1")
    domain.get_by_role("button", name="Check DNS").click()
    expect(domain.get_by_text("Not verified").first).to_be_visible()
    domain.get_by_role("button", name="Rotate DKIM key").click()
    expect(page.get_by_text("is waiting for its DNS record")).to_be_visible()
    domain.locator("summary").click()
    domain.get_by_role("button", name="Remove domain").click()
    expect(page.get_by_text(f"{name} was removed.")).to_be_visible()
    expect(domain).to_have_count(0)
