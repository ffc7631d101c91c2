"""Exports in Chromium: from the ledger's filter to the complete file, and the progress
on the way.
"""

import hashlib
import json
import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


def test_auditor_takes_out_what_the_filter_shows(open_as, product, ana, tmp_path):
    auditor = open_as("AUDITOR", accept_downloads=True)
    row = product.hold(ana)
    desk = product.known["DASHBOARD_URL"]
    auditor.goto(f"{desk}/audit/?message={row['id']}")
    auditor.get_by_role("link", name="Export", exact=False).first.click()
    expect(auditor.get_by_text(row["id"])).to_be_visible()
    auditor.get_by_label("JSON Lines").check()
    with auditor.expect_download() as download:
        auditor.get_by_role("button", name=re.compile("^Export")).click()
    # The page updates the progress by itself.
    auditor.wait_for_url("**/audit/export/*/?go=1")
    expect(auditor.get_by_role("heading", name="Complete")).to_be_visible()
    download.value.save_as(tmp_path / "file")
    whole = (tmp_path / "file").read_bytes()
    assert {json.loads(line)["message"] for line in whole.splitlines()} == {row["id"]}
    rows = len(whole.splitlines())
    assert rows > 1
    expect(auditor.locator(".export-rows")).to_have_text(
        re.compile(rf"\s*{rows} of {rows} rows\s*")
    )
    expect(auditor.locator(".export-sum")).to_have_text(
        hashlib.sha256(whole).hexdigest()
    )
    auditor.get_by_role("link", name="Exports").click()
    expect(auditor.locator(".exports tbody tr").first).to_contain_text("Done")
