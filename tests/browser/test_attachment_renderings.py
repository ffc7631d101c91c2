"""Attachments that can be looked at, in Chromium: pages of a PDF, a sheet with what it
hides, a picture's metadata.
"""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from demo.messages.files import INVOICE_PDF, RETURN_LABEL
from tests.browser.test_enclosed_seen import parts_unread
from tests.office_files import locked_pdf, pdf_of, workbook

pytestmark = pytest.mark.slow

FILES = (
    ("invoice.pdf", INVOICE_PDF, "application/pdf"),
    (
        "offer.xlsx",
        workbook(),
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    ("label.png", RETURN_LABEL, "image/png"),
    ("locked.pdf", locked_pdf(), "application/pdf"),
    ("plans.pdf", pdf_of(6), "application/pdf"),
)


@pytest.fixture
def with_files(product, ana):
    """A held message with these files, fetched."""
    return product.hold_with_files(ana, FILES)


def test_files_open_in_place_as_renderings_and_count_as_viewed(
    desk, product, with_files
):
    desk.goto(f"{product.known['DASHBOARD_URL']}/queue/{with_files['id']}/")
    parts_unread(desk, 5)
    for number in range(1, 6):
        desk.locator(f"#file-{number} .look > summary").click()
    drawn = desk.locator("#file-1 .pdf-pages img")
    expect(drawn).to_have_js_property("naturalWidth", 1190, timeout=30_000)
    expect(desk.locator("#file-1 .pdf-pages")).to_contain_text(
        "A rendering. The file itself is what is approved."
    )
    desk.locator("#file-1 .pdf-pages summary").click()
    expect(desk.locator("#file-1 .pdf-pages .words")).to_contain_text("EUR 1,225.00")

    sheet = desk.frame_locator("#file-2 iframe")
    expect(sheet.locator("code").first).to_have_text("=B1*0.4", timeout=30_000)
    expect(sheet.get_by_role("heading", name="Sheet “Costs” hidden")).to_be_visible()
    expect(sheet.get_by_role("rowheader", name="2 hidden")).to_be_visible()
    expect(desk.frame_locator("#file-3 iframe").locator("body")).to_contain_text(
        "No metadata was found"
    )
    expect(desk.locator("#file-4 .pdf-pages")).to_contain_text(
        "It is encrypted with a password"
    )
    # Nobody could look into the locked one.
    parts_unread(desk, 1)
    # The next pages come when somebody scrolls to them.
    expect(desk.locator("#file-5 .pdf-pages img")).to_have_count(4)
    desk.locator("#file-5 .more").scroll_into_view_if_needed()
    expect(desk.locator("#file-5 .pdf-pages img")).to_have_count(6, timeout=30_000)
    with desk.expect_download() as downloading:
        desk.locator("#file-4").get_by_role("link", name="Download").click()
    assert Path(downloading.value.path()).read_bytes() == locked_pdf()
    for width in (390, 320):
        desk.set_viewport_size({"width": width, "height": 800})
        assert desk.evaluate("document.scrollingElement.scrollWidth") <= width
        overflow = desk.locator("#file-2 iframe").element_handle().content_frame()
        assert overflow.evaluate(
            "document.scrollingElement.scrollWidth <= window.innerWidth"
        )


def test_without_scripts_files_open_on_a_page_of_their_own_and_no_other_counts(
    open_page, signed_in, product, with_files
):
    """Without scripts Chromium loads each frame at once, including lazy ones."""
    page = open_page(storage_state=signed_in, java_script_enabled=False)
    page.goto(product.page(with_files))
    parts_unread(page, 5)
    page.locator("#file-3 .look > summary").click()
    page.locator("#file-3").get_by_role("link", name="Open the preview").click()
    expect(page.locator("img")).to_be_visible()
    page.goto(product.page(with_files))
    parts_unread(page, 4)
    page.locator("#file-1 .look > summary").click()
    page.locator("#file-1").get_by_role("link", name="Open the preview").click()
    expect(page.get_by_role("img", name="Page 1")).to_be_visible()
    page.get_by_role("link", name="Back to the message").click()
    parts_unread(page, 3)
