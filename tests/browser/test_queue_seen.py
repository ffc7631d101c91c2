"""The queue in Chromium: search, menus, a flood in one row, the restored position, the
counts.
"""

import uuid

import pytest
from playwright.sync_api import expect

from tests.browser.looking import is_narrow

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ana")]

# The pulse of a queue of a hundred thousand.
LONG = """async () => {
    const told = await (await fetch(document.body.dataset.pulse)).json();
    document.dispatchEvent(new CustomEvent('desk:pulse', { detail: { ...told, waiting: 100000 } }));
}"""


@pytest.fixture
def queue(desk, product):
    """Return a function that opens an address of the queue."""

    def open_queue(query=""):
        desk.goto(f"{product.known['DASHBOARD_URL']}/queue/{query}")
        desk.wait_for_selector("[data-stream='open']", state="attached")
        return desk

    return open_queue


def word():
    """Return a unique word without digits, which would make messages similar."""
    return "w" + "".join(chr(97 + int(digit, 16)) for digit in uuid.uuid4().hex[:12])


def send(product, subject, **fields):
    return product.send(subject, **{"body": f"About {subject}", **fields})[0]


def test_search_is_typed_shown_as_fields_and_cleared(queue, product, ana):
    name = word()
    other = word()
    sent = [send(product, name, to=f"{name}@contoso.example"), send(product, other)]
    assert [product.held(ana, one)["subject"] for one in sent] == [name, other]
    page = queue()
    page.get_by_label("Search recipients").fill(f"to:{name}@con {name}")
    page.keyboard.press("Enter")
    expect(page.locator("#list .item")).to_have_count(1)
    assert page.url.endswith(f"/queue/?q=to%3A{name}%40con+{name}"), (
        "an address says nothing of what was not asked"
    )
    expect(
        page.get_by_role("link", name=f"Remove the filter To {name}@con")
    ).to_be_visible()
    page.locator("#filters summary").click()
    expect(page.locator("#f-to")).to_have_value(f"{name}@con")
    page.locator("#f-to").fill("nobody")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_text("No matches")).to_be_visible()
    page.get_by_role("link", name="Clear the filters").click()
    expect(page.get_by_role("link", name=other)).to_be_visible()


def test_menus_are_used_by_keyboard_and_fit_a_phone(queue):
    page = queue("?order=riskiest&risk=high")
    page.locator(".menu summary").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Soonest to expire")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Soonest to expire")).to_be_hidden()
    expect(page.locator(".menu summary").first).to_be_focused()
    queue("?q=refund&risk=notice&order=riskiest")
    for width in (390, 320):
        page.set_viewport_size({"width": width, "height": 700})
        for menu in page.locator("#list .menu summary").all():
            menu.click()
            assert is_narrow(page), width


def test_back_returns_to_the_row_with_its_focus_and_its_scroll(queue, product, ana):
    # Far enough down that the list had to be scrolled.
    name = word()
    sent = [
        send(product, f"{name} {chr(97 + index)}", body=f"{word()} {name}")
        for index in range(14)
    ]
    for one in sent:
        product.held(ana, one)
    page = queue(f"?q={name}&group=none")
    last = page.locator("#list .item").last
    last.scroll_into_view_if_needed()
    assert page.evaluate("document.getElementById('rows').scrollTop") > 0
    public_id = last.get_attribute("data-message")
    last.click()
    expect(page.locator("#subject")).to_be_visible()
    page.go_back()
    back = page.locator(f"#list .item[data-message='{public_id}']")
    expect(back).to_be_focused()
    assert page.evaluate("document.getElementById('rows').scrollTop") > 0
    expect(back).to_be_in_viewport()


def test_counts_and_the_bar_follow_what_happens_elsewhere(queue, product, ana):
    name = word()
    row = product.hold(ana, name, **{"from": product.known["MAILBOX2_ADDRESS"]})
    page = queue(f"?q={name}")
    expect(page.locator("#list .item")).to_have_count(1)
    product.send(body=word())
    expect(page.get_by_role("link", name="1 new, not all may match")).to_be_visible()
    mine = page.locator("[data-tab-of=mine] [data-count]")
    # Other tests may have claimed messages on this desk.
    before = int(mine.inner_text() or 0)
    sql = "INSERT INTO approvals_claim (message_id, person_id) SELECT m.id, p.id FROM mirror_message m,"
    sql += " people_person p WHERE m.public_id = %s AND p.email = %s"
    product.sql(sql, row["id"], product.known["REVIEWER_EMAIL"])
    # As when the tab becomes visible again, which requests the pulse.
    page.evaluate("document.dispatchEvent(new CustomEvent('desk:ask-pulse'))")
    expect(mine).to_have_text(str(before + 1))
    # The heading counts all that wait; other counts stop at a thousand.
    page.evaluate(LONG)
    expect(page.get_by_role("heading", level=1)).to_contain_text("100,000 waiting")
    assert page.title().startswith("(100,000) ")
    page.goto(f"{product.known['DASHBOARD_URL']}/queue/?tab=mine")
    expect(page.locator(f"#list .item[data-message='{row['id']}']")).to_contain_text(
        "Claimed by you"
    )
