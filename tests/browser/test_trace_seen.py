"""The audit trail of a message in Chromium; and its proof."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow

HOSTILE = "Invoice </script><script>alert(1)</script>"


@pytest.fixture(scope="module")
def decided(product, ana):
    """A message that was approved and sent, and whose entries are sealed."""
    row = product.hold(ana, f"{HOSTILE} 4711")
    ana.decide(row["id"], "approve", row["fingerprint"], "Sums agree")
    path = f"/audit/trace/{row['id']}/"

    def has_left():
        text = ana.get(path).text
        return "sent the message" in text and re.search(
            r"([1-9]\d*) of \1 entries are sealed", text
        )

    product.wait_for(
        has_left, timeout=90, what="the message sent and its entries sealed"
    )
    return path


def test_trace_is_read_its_past_decision_opened_and_its_proof_checked(
    desk, product, decided, open_page, tmp_path
):
    desk.goto(product.known["DASHBOARD_URL"] + decided)
    files = {}
    for button, name in (
        ("Readable proof", "proof.html"),
        ("Proof file", "proof.json"),
    ):
        with desk.expect_download() as download:
            desk.get_by_role("button", name=button).click()
        files[button] = tmp_path / name
        download.value.save_as(files[button])
    desk.get_by_role("link", name="as it was seen").first.click()
    seen = desk.frame_locator("iframe")
    expect(seen.get_by_text("your refund for order 4471")).to_be_visible()
    _see_readable_page(files["Readable proof"], open_page)
    _have_it_checked(desk, product.known["DASHBOARD_URL"], files["Proof file"])


def _see_readable_page(file, open_page):
    """From the disk, without any network."""
    page = open_page(offline=True)
    page.on("dialog", lambda dialog: pytest.fail("a script of the data ran"))
    page.goto(file.as_uri())
    expect(page.get_by_text("This page proves nothing by itself")).to_be_visible()
    expect(page.locator("body")).to_contain_text(HOSTILE)
    assert page.locator("script").count() == 0
    # The policy allows its own style.
    assert (
        page.locator(".notice").evaluate(
            "notice => getComputedStyle(notice).borderTopStyle"
        )
        == "solid"
    )


def _have_it_checked(desk, address, file):
    desk.goto(f"{address}/audit/verify/")
    desk.get_by_label("Or a file").set_input_files(file)
    desk.get_by_role("button", name="Compare").click()
    shown = desk.locator("#compare [role=status]")
    expect(shown).to_contain_text("This proof holds.")
