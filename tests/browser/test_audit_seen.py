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


def test_columns_of_reports_and_of_the_history_stand_in_line(
    open_as, product, hold, ana
):
    for outcome in ("approve", "reject"):
        row = hold()
        ana.decide(row["id"], outcome, row["fingerprint"], "Not this one")
    page = open_as("AUDITOR")
    page.set_viewport_size({"width": 1280, "height": 800})
    desk = product.known["DASHBOARD_URL"]
    page.goto(f"{desk}/audit/reports/decisions/")
    outcomes = page.locator("#history .outcome")
    # All of the table is seen without scrolling it.
    hidden = "(table) => table.scrollWidth - table.clientWidth"
    assert page.locator(".figures-scroll").first.evaluate(hidden) == 0
    shown = lambda: page.goto(f"{desk}/history/") and outcomes.count() > 1  # noqa: E731
    product.wait_for(shown, timeout=60, what="two messages in the history")
    lefts = "(all) => [...new Set(all.map((one) => one.getBoundingClientRect().left))]"
    assert len(outcomes.evaluate_all(lefts)) == 1
