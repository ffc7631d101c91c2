"""Letters read in Chromium: each way to look at one, and how much room the letter has."""

import re
import uuid

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ana")]


def held(product, ana, **fields):
    # No letter like one that was rejected: such a one is high risk, and asks for more than a key.
    fields.setdefault("body", " ".join(uuid.uuid4().hex for _ in range(12)))
    upstream_id, subject = product.send(**fields)
    return product.held(ana, upstream_id), subject


def opened(desk, product, row, query=""):
    desk.goto(product.page(row, query))
    expect(desk.locator("#sheet")).to_be_visible()
    return desk


def test_body_has_sixty_percent_of_the_panes_height(desk, product, ana):
    row, _ = held(product, ana, cc=["billing@acme-corp.example"])
    opened(desk, product, row)
    seen = desk.evaluate(
        """() => {
            const face = document.querySelector('#sheet .face').getBoundingClientRect();
            const bar = document.getElementById('decide').getBoundingClientRect();
            return (Math.min(face.bottom, bar.top) - face.top) / document.getElementById('message').clientHeight;
        }"""
    )
    assert seen >= 0.6


def test_key_v_goes_through_the_tabs_and_each_is_in_the_address(desk, product, ana):
    row, _ = held(product, ana, body="Hello **Dana**, pay EUR 5.")
    opened(desk, product, row)
    signs = {
        "text": ".face.text", "parts": ".face.compared", "source": ".face .source", "headers": ".face .headers",
        "changes": ".face.reading", "rendered": "iframe.face",
    }  # fmt: skip
    for name, sign in signs.items():
        desk.keyboard.press("v")
        expect(desk.locator(f"#tab-{name}[aria-current=true]")).to_be_visible()
        expect(desk.locator(f"#sheet {sign}").first).to_be_visible()
        assert re.search(rf"[?&]view={name}(#sheet)?$", desk.url)
    desk.locator("#tab-source").click()
    expect(desk.locator("#tab-source")).to_be_focused()
    expect(desk.locator(".source")).to_contain_text("Hello **Dana**")
    desk.reload()
    expect(desk.locator("#tab-source[aria-current=true]")).to_be_visible()


def test_tab_stays_open_while_the_page_follows_what_becomes_of_the_message(desk, product, ana):
    row, _ = held(product, ana, **{"from": product.known["MAILBOX2_ADDRESS"]})
    opened(desk, product, row, "?view=source")
    desk.keyboard.press("a")
    expect(desk.get_by_role("button", name="Undo").first).to_be_visible()
    desk.goto(f"{product.known['DASHBOARD_URL']}/queue/{row['id']}/?view=source")
    desk.get_by_role("button", name="Undo").first.click()
    expect(desk.locator("#decide [data-key=a]")).to_be_visible()


def test_text_first_is_chosen_in_the_sheet_and_kept(desk, product, ana):
    row, _ = held(product, ana)
    opened(desk, product, row, "?view=text")
    desk.get_by_role("button", name="Always open letters as text").click()
    expect(desk.get_by_role("button", name="Open letters laid out")).to_be_visible()
    try:
        opened(desk, product, row)
        expect(desk.locator("#tab-text[aria-current=true]")).to_be_visible()
        expect(desk.locator("#message iframe.face")).to_have_count(0)
    finally:
        desk.get_by_role("button", name="Open letters laid out").click()
    expect(desk.locator("#message iframe.face")).to_be_visible()


def test_no_tab_pushes_a_phone_sideways_also_with_scripts_off(open_page, signed_in, product, ana):
    row, _ = held(
        product, ana, subject="W" * 300,
        body=f"{'word' * 200}\n\n[{'x' * 90}](https://{'y' * 60}.example/{'z' * 200})",
        metadata={"run_id": "r" * 190, "reason": "q" * 300},
    )  # fmt: skip
    page = open_page(java_script_enabled=False, storage_state=signed_in)
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(product.page(row))
    for view in ("text", "parts", "source", "headers", "changes", "rendered"):
        page.locator(f"#tab-{view}").click()
        expect(page.locator(f"#tab-{view}[aria-current=true]")).to_be_visible()
        wide = page.evaluate("document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth")
        assert wide <= 0, view
