"""Several messages decided together, seen in Chromium: by keys, by touch, without
scripts, and by how few actions.
"""

import uuid

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow

# Until the page has observed what is on screen.
OBSERVED = "new Promise((done) => new IntersectionObserver(() => done()).observe(document.body))"


@pytest.fixture
def batch(product, hold):
    """Return a function that makes distinct messages and returns the address of the
    list with only these.
    """

    def make(number):
        name = "".join(chr(97 + int(digit, 16)) for digit in uuid.uuid4().hex[:12])
        found = [
            hold(f"Batch {word} {name}", body=f"Hello,\n\nabout {word} and {name}.")
            for word in "abcdefghijkl"[:number]
        ]
        address = f"{product.known['DASHBOARD_URL']}/queue/?q={name}&group=none"
        return address, [row["upstream_id"] for row in found]

    return make


def states_of(product, upstream_ids):
    query = (
        "SELECT d.state FROM approvals_decision d JOIN mirror_message m ON m.id = d.message_id"
        " WHERE m.upstream_id = ANY(%s)"
    )
    return [state for (state,) in product.sql(query, upstream_ids)]


def number_unread(page):
    """How many of the ticked messages the page calls unread, once it has reported what
    was on screen.
    """
    page.locator("#together:not([data-reporting])").wait_for(state="attached")
    return int(page.locator("#with-unread > summary [data-number]").text_content())


def ready(page):
    """Wait until a page that was reached by a press handles keys; a page that is opened
    directly does so at once.
    """
    page.locator("#keys[data-ready]").wait_for(state="attached")


def test_batch_is_chosen_read_and_rejected_by_keys_alone(desk, batch, product):
    address, ids = batch(4)
    # Faster than messages open: htmx reports what a newer request replaces.
    desk.watch.expected += ["htmx:afterRequest", "htmx:sendAbort"]
    desk.goto(address)
    expect(desk.locator("#list .item").first).to_have_attribute("aria-current", "true")
    desk.keyboard.press("x")
    expect(desk.locator("#bulk")).to_contain_text("1 selected")
    for key in ("j", "j", "Shift+X"):
        desk.keyboard.press(key)
    expect(desk.locator("#bulk")).to_contain_text("3 selected")
    desk.keyboard.press("Shift+A")
    expect(desk.get_by_role("heading", name="Review 3 messages")).to_be_visible()
    ready(desk)
    desk.keyboard.press("j")
    desk.keyboard.press("j")
    desk.keyboard.press("x")
    expect(desk.locator("#reject > summary")).to_contain_text("Reject 2")
    desk.keyboard.press("r")
    desk.keyboard.press("6")
    desk.keyboard.press("Enter")
    expect(desk.get_by_role("heading", name="Rejected: 2 of 2")).to_be_visible()
    desk.keyboard.press("z")
    expect(desk.get_by_role("heading", name="Undone: 2 of 2")).to_be_visible()
    assert states_of(product, ids) == ["undone"] * 2


OPENED = """SELECT count(*) FROM audit_entry e JOIN mirror_message m ON m.public_id = e.message
    WHERE e.action = 'message.opened' AND m.upstream_id = ANY(%s)"""
# How many messages end above the bar of the sheet.
ON_SCREEN = """() => {
  const edge = document.getElementById("decide").getBoundingClientRect().top;
  const isAbove = (end) => end.getBoundingClientRect().bottom <= edge;
  return [...document.querySelectorAll(".one > .end")].filter(isAbove).length;
}"""


# A second passes when the test says so.
HOLD_SECONDS = """
  const [wait, end] = [window.setTimeout, window.clearTimeout];
  window.held = [];
  window.setTimeout = (act, time, ...more) => (time === 1000 ? -window.held.push(act) : wait(act, time, ...more));
  window.clearTimeout = (timer) => (timer < 0 ? delete window.held[-timer - 1] : end(timer));
"""


def test_what_was_on_screen_is_approved_first_and_the_rest_takes_its_number(
    open_page, signed_in, batch, product
):
    address, ids = batch(12)
    page = open_page(storage_state=signed_in)
    page.watch.expected.append("422")
    page.add_init_script(HOLD_SECONDS)
    page.goto(address)
    page.get_by_label("Select all 12 on this page").check()
    page.get_by_role("button", name="Review together").click()
    expect(page.get_by_role("heading", name="Review 12 messages")).to_be_visible()
    approve = page.locator("#decide [data-key=a]")
    expect(approve).to_be_disabled()
    page.evaluate(OBSERVED)
    number = page.evaluate(ON_SCREEN)
    assert 0 < number < 11
    # What only passes by is not read.
    for place in ("document.documentElement.scrollHeight", "0"):
        page.evaluate(f"window.scrollTo(0, {place})")
        page.evaluate(OBSERVED)
    assert product.sql(OPENED, ids) == [(0,)]
    page.evaluate("held.forEach((act) => act())")
    expect(approve).to_contain_text(f"Approve {number} read")
    assert product.sql(OPENED, ids) == [(number,)]

    summary = page.locator("#with-unread > summary")
    summary.click()
    unread = number_unread(page)
    assert unread == 12 - number
    field = page.get_by_label("How many of the ticked messages are unread?")
    field.fill(str(unread + 1))
    page.keyboard.press("Enter")
    alert = page.locator("#bulk-problem")
    expect(alert).to_contain_text("Nothing was approved")
    expect(field).to_have_value(str(unread + 1))
    assert states_of(product, ids) == []
    # One that changed meanwhile is named, and a double press decides the others once.
    query = "UPDATE mirror_revision r SET fingerprint = %s FROM mirror_message m WHERE r.id = m.revision_id"
    product.sql(f"{query} AND m.upstream_id = %s", "cd" * 32, ids[11])
    field.fill(str(unread))
    page.get_by_role(
        "button", name=f"Approve {number} read and {unread} unread"
    ).dblclick()
    expect(page.get_by_role("heading", name="Approved: 11 of 12")).to_be_visible()
    assert len(states_of(product, ids)) == 11
