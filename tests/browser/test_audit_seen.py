"""The ledger in Chromium: a check with its live progress, and the columns of lists."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


def test_auditor_checks_the_ledger_while_the_page_shows_how_far_it_is(open_as, product):
    page = open_as("AUDITOR")
    address = f"{product.known['DASHBOARD_URL']}/audit/verify/"
    head = lambda: page.context.request.get(f"{address}head.json").ok  # noqa: E731
    product.wait_for(head, timeout=60, what="the first seal")
    page.goto(address)
    page.get_by_role("button", name="Check now").click()
    # The page updates without a reload.
    expect(page.get_by_text("Everything unchanged")).to_be_visible()
    expect(page.locator("#ledger-state")).to_contain_text("Max Weber")
