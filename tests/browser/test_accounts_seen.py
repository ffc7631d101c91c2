"""Seen in Chromium: the pages of an account at MultiMail, the records of a domain, and
the preview of events.
"""

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


def test_form_of_a_webhook_shows_what_each_event_sends(admin):
    page = admin("/webhooks/")
    page.get_by_role("link", name="New webhook").click()
    page.get_by_role("checkbox", name="message.pending_approval").check()
    expect(
        page.get_by_role("group", name="The event message.pending_approval")
    ).to_contain_text('"to": "dana@')


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
