"""Taking history out, seen in Chromium: from the ledger's filter to the whole file, and its progress on the way."""

import hashlib
import json
import re

import psycopg
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import sign_in
from tests.browser.looking import settled, too_wide, violations

pytestmark = pytest.mark.slow

EXPORT = "/audit/export/"


@pytest.fixture
def auditor(open_page, product):
    page = open_page(accept_downloads=True)
    sign_in(page, product, "AUDITOR")
    return page


def look_at(page):
    """Fail on what axe says of a page, and on what is too wide for the smallest window."""
    page.set_viewport_size({"width": 320, "height": 700})
    assert too_wide(page) == []
    page.set_viewport_size({"width": 1440, "height": 900})
    assert violations(page) == []


def test_auditor_takes_out_what_the_filter_shows(auditor, product, ana, tmp_path):
    row = product.held(ana, product.send()[0])
    desk = product.known["DASHBOARD_URL"]
    auditor.goto(f"{desk}/audit/?message={row['id']}")
    auditor.get_by_role("link", name="Export", exact=False).first.click()
    expect(auditor.get_by_text(row["id"])).to_be_visible()
    look_at(auditor)
    auditor.get_by_label("JSON Lines").check()
    with auditor.expect_download() as taken:
        auditor.get_by_role("button", name=re.compile("^Export")).click()
    # The page stays, and looks by itself how far the file is.
    auditor.wait_for_url("**/audit/export/*/?go=1")
    expect(auditor.get_by_role("heading", name="Handed out, whole")).to_be_visible()
    look_at(auditor)
    taken.value.save_as(tmp_path / "file")
    whole = (tmp_path / "file").read_bytes()
    assert {json.loads(line)["message"] for line in whole.splitlines()} == {row["id"]}
    rows = len(whole.splitlines())
    assert rows > 1
    expect(auditor.locator(".export-rows")).to_have_text(re.compile(rf"\s*{rows} of {rows} rows\s*"))
    expect(auditor.locator(".export-sum")).to_have_text(hashlib.sha256(whole).hexdigest())
    auditor.get_by_role("link", name="Exports").click()
    expect(auditor.locator(".exports tbody tr").first).to_contain_text("Done")
    look_at(auditor)
    # One whose reader is half way, and one whose reader went away.
    key = auditor.locator(".exports tbody tr").first.get_attribute("id").removeprefix("export-")
    for state, words in (("running", "1 of"), ("broken_off", "The file is not whole"), ("asked", "Download the file")):
        alter(product, key, state)
        auditor.goto(f"{desk}{EXPORT}{key}/")
        expect(auditor.locator("#export")).to_contain_text(words)
        look_at(auditor)
    alter(product, key, "done")
    expect(auditor.get_by_role("heading", name="Handed out, whole")).to_be_visible()


def alter(product, key, state):
    with psycopg.connect(product.known["DATABASE_URL"]) as database:
        query = "UPDATE audit_export SET state = %s, rows_done = 1, changed_at = now() WHERE id = %s"
        database.execute(query, [state, key])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "path", ["", "?action=nonsense", "?since=2099-01-01", "past/", "past/?before=2001-01-01T00:00Z"]
)
def test_pages_of_exports_can_be_read_by_everybody(open_page, product, path, scheme):
    page = open_page(color_scheme=scheme)
    sign_in(page, product, "AUDITOR")
    settled(page, product.known["DASHBOARD_URL"] + EXPORT + path)
    look_at(page)
