"""Messages in Chromium: each view of one, and how much space it has."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.looking import is_narrow
from tests.desk import some_words

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ana")]


@pytest.fixture(scope="module")
def message(product, ana):
    """A held message whose decision can be undone."""
    fields = {
        "from": product.known["MAILBOX2_ADDRESS"],
        "cc": ["billing@acme-corp.example"],
    }
    return product.hold(ana, body=f"Hello **Dana**.\n\n{some_words()}", **fields)


def test_key_v_cycles_the_tabs_of_a_message_which_stay_in_the_url(
    desk, product, message
):
    desk.goto(product.page(message))
    expect(desk.locator("#sheet")).to_be_visible()
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
    source = desk.locator("#tab-source[aria-current=true]")
    expect(source).to_be_visible()
    # It stays open while the page updates the status of the message.
    desk.keyboard.press("a")
    expect(desk.get_by_role("button", name="Undo").first).to_be_visible()
    desk.goto(product.page(message, "?view=source"))
    desk.get_by_role("button", name="Undo").first.click()
    expect(desk.locator("#decide [data-key=a]")).to_be_visible()
    expect(source).to_be_visible()


def test_no_tab_pushes_a_phone_sideways_also_with_scripts_off(
    open_page, signed_in, product, ana
):
    body = f"{'word' * 200}\n\n[{'x' * 90}](https://{'y' * 60}.example/{'z' * 200})"
    row = product.hold(
        ana, "W" * 300, body=body, metadata={"run_id": "r" * 190, "reason": "q" * 300}
    )
    page = open_page(java_script_enabled=False, storage_state=signed_in)
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(product.page(row))
    for view in ("text", "parts", "source", "headers", "changes", "rendered"):
        page.locator(f"#tab-{view}").click()
        expect(page.locator(f"#tab-{view}[aria-current=true]")).to_be_visible()
        assert is_narrow(page), view
