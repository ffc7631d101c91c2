"""The reports, seen in Chromium: from a number to its rows, and who could decide at a
moment.
"""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow

REPORTS = "/audit/reports/"


@pytest.fixture
def people_shown(product):
    """Figures of single people are shown."""
    product.sql(
        "INSERT INTO people_organisationsettings (id, minimum_oversight, person_figures_since) VALUES (1, '', now())"
        " ON CONFLICT (id) DO UPDATE SET person_figures_since = now()"
    )
    yield
    product.sql("DELETE FROM people_organisationsettings")


def test_auditor_goes_from_a_number_to_its_rows_and_to_who_could_decide(
    open_as, product, ana, people_shown
):
    auditor = open_as("AUDITOR")
    row = product.hold(ana)
    ana.decide(row["id"], "reject", row["fingerprint"], "Not this one")
    auditor.goto(product.known["DASHBOARD_URL"] + REPORTS)
    auditor.get_by_role("link", name="Who decided what").click()
    mine = (
        auditor.get_by_role("table", name="By person")
        .get_by_role("row")
        .filter(has_text="Ana Ferreira")
    )
    rejected = mine.get_by_role("cell").nth(1).get_by_role("link")
    number = int(rejected.inner_text().replace(",", ""))
    rejected.click()
    expect(auditor.get_by_role("heading", level=1)).to_contain_text(
        "rejected, by Ana Ferreira"
    )
    expect(auditor.locator(".lines > li")).to_have_count(min(number, 100))
    expect(auditor.locator(".lines > li").first).to_contain_text(row["subject"])
    auditor.get_by_role("link", name=row["subject"]).click()
    auditor.wait_for_url(f"**/audit/trace/{row['id']}/")
    # Who could have decided it at that time.
    auditor.goto(product.known["DASHBOARD_URL"] + REPORTS)
    auditor.get_by_role("link", name="Who could decide where").click()
    expect(auditor.get_by_role("table", name="Could decide")).to_contain_text(
        "Ana Ferreira"
    )
    auditor.get_by_label("Where").select_option(
        label=f"Mailbox {product.known['MAILBOX_ADDRESS']}"
    )
    auditor.get_by_role("button", name="Show").click()
    expect(auditor.get_by_role("table", name="Could decide")).to_contain_text(
        "Ben Okafor"
    )
    auditor.get_by_role("link", name="Ana Ferreira").click()
    expect(auditor.get_by_role("heading", level=1)).to_have_text("Ana Ferreira")
    auditor.go_back()
    with auditor.expect_download() as download:
        auditor.get_by_role("button", name="Export CSV").click()
    assert re.fullmatch(r"rights-[0-9TZ-]+\.csv", download.value.suggested_filename)
