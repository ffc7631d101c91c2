"""The ledger status page: a check with live progress, and a compared checkpoint, on the
real product.
"""

import json

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


@pytest.fixture
def auditor(open_as):
    """An auditor's page, where an invalid checkpoint is answered with 422."""
    page = open_as("AUDITOR")
    page.watch.expected.append("status of 422")
    return page


def test_auditor_checks_the_ledger_and_compares_it_with_a_saved_checkpoint(
    auditor, product
):
    page = auditor
    address = f"{product.known['DASHBOARD_URL']}/audit/verify/"
    head = product.wait_for(
        lambda: _head(page, address), timeout=60, what="the first seal"
    )
    page.goto(address)
    page.get_by_role("button", name="Check now").click()
    # The page updates without a reload.
    expect(page.get_by_text("Everything unchanged")).to_be_visible(timeout=90_000)
    expect(page.get_by_role("button", name="Check now")).to_be_visible()
    expect(page.locator("#ledger-state")).to_contain_text("Max Weber")

    page.get_by_label("Checkpoint or proof").fill("no head")
    page.get_by_role("button", name="Compare").click()
    expect(
        page.get_by_text("This is neither a checkpoint nor a proof.")
    ).to_be_visible()
    page.get_by_label("Checkpoint or proof").fill(json.dumps(head))
    page.get_by_role("button", name="Compare").click()
    expect(
        page.get_by_text("Everything under this checkpoint is still there.")
    ).to_be_visible()


def _head(page, address):
    answer = page.context.request.get(f"{address}head.json")
    return answer.json() if answer.ok else None
