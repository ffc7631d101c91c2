"""The ledger in Chromium: an export and a check with their live progress."""

import hashlib
import json

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


def test_auditor_takes_out_what_the_filter_shows(open_as, product, ana, tmp_path):
    auditor = open_as("AUDITOR", accept_downloads=True)
    row = product.hold(ana)
    desk = product.known["DASHBOARD_URL"]
    auditor.goto(f"{desk}/audit/?message={row['id']}")
    auditor.get_by_role("link", name="Export", exact=False).first.click()
    auditor.get_by_label("JSON Lines").check()
    with auditor.expect_download() as download:
        auditor.locator("main").get_by_role("button", name="Export").click()
    # The page updates the progress by itself.
    auditor.wait_for_url("**/audit/export/*/?go=1")
    expect(auditor.get_by_role("heading", name="Complete")).to_be_visible()
    download.value.save_as(tmp_path / "file")
    whole = (tmp_path / "file").read_bytes()
    assert {json.loads(line)["message"] for line in whole.splitlines()} == {row["id"]}
    shown = auditor.locator(".export-sum")
    expect(shown).to_have_text(hashlib.sha256(whole).hexdigest())


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
