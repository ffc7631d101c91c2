"""Several messages decided together, seen in Chromium: by keys, by touch, without
scripts, and by how few actions.
"""

import uuid

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import MANY
from tests.browser.looking import is_narrow, too_wide

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ana")]

WORDS = [f"{one}{two}" for one in "abcdefghij" for two in "klmno"]

# Until the page has observed what is on screen.
OBSERVED = "new Promise((done) => new IntersectionObserver(() => done()).observe(document.body))"


@pytest.fixture
def batch(product):
    """Return a function that makes distinct messages and returns the address of the
    list with only these.
    """

    def make(number):
        name = "".join(chr(97 + int(digit, 16)) for digit in uuid.uuid4().hex[:12])
        found = []
        for word in WORDS[:number]:
            body = f"Hello,\n\nabout {word} and {name} there is nothing else to say."
            sent = product.send(
                f"Batch {word} {name}",
                body=body,
                **{"from": product.known["MAILBOX2_ADDRESS"]},
            )
            found.append(sent[0])
        read = "SELECT count(*) FROM mirror_message WHERE hydrated_at IS NOT NULL AND upstream_id = ANY(%s)"
        product.wait_for(
            lambda: product.sql(read, found) == [(number,)],
            timeout=60,
            what="the contents of all",
        )
        return f"{product.known['DASHBOARD_URL']}/queue/?q={name}&group=none", found

    yield make
    # Fifty more would delay later messages.
    product.make_room(but=MANY)


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
    return int(page.locator("#with-unread summary [data-number]").text_content())


def read_all(page):
    """Bring beginning and end of each message into view, until none is unread."""
    marks = page.locator("[data-unread]")
    one = page.locator(".one:has([data-unread])").first
    while number := marks.count():
        for place, block in (("header", "start"), ("> .end", "center")):
            one.locator(place).evaluate(
                "(part, block) => part.scrollIntoView({ block })", block
            )
            page.evaluate(OBSERVED)
        expect(marks).not_to_have_count(number)


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
    for key in ("j", "x"):
        desk.keyboard.press(key)
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
    assert len(states_of(product, ids)) == 2
    desk.keyboard.press("z")
    expect(desk.get_by_role("heading", name="Undone: 2 of 2")).to_be_visible()


def test_selection_counts_clears_and_stays_and_neither_lost_words_nor_enter_on_a_tick_decide(
    desk, batch, product
):
    address, ids = batch(3)
    desk.goto(address)
    picks = desk.locator(".pick")
    selected = desk.locator("#bulk")
    expect(selected).to_be_hidden()
    picks.nth(0).check()
    picks.nth(2).click(modifiers=["Shift"])
    expect(selected).to_contain_text("3 selected")
    desk.evaluate(
        "htmx.ajax('GET', document.getElementById('list').dataset.url, {target: '#list', swap: 'outerHTML'})"
    )
    expect(selected).to_contain_text("3 selected")
    assert [picks.nth(at).is_checked() for at in range(3)] == [True] * 3
    desk.get_by_role("button", name="Clear").click()
    expect(selected).to_be_hidden()

    everything = desk.get_by_label("Select all 3 on this page")
    expect(everything).not_to_be_checked()
    everything.check()
    desk.keyboard.press("Shift+A")
    heading = desk.get_by_role("heading", name="Review 3 messages")
    expect(heading).to_be_visible()
    ready(desk)
    # As if the key that focuses the reason field was lost. An empty reason would
    # approve at once.
    desk.keyboard.type("Name all the dates, please")
    expect(heading).to_be_visible()
    tick = desk.locator(".tick").first
    tick.focus()
    desk.keyboard.press("Enter")
    desk.keyboard.press("Space")
    expect(tick).not_to_be_checked()
    read_all(desk)
    expect(desk.get_by_role("button", name="Approve 2 read")).to_be_visible()
    assert states_of(product, ids) == []
    desk.wait_for_function(
        "typed => performance.now() > typed + 500",
        arg=desk.evaluate("performance.now()"),
    )
    desk.keyboard.press("a")
    expect(desk.get_by_role("heading", name="Approved: 2 of 2")).to_be_visible()


def test_batch_is_decided_by_touch_on_a_narrow_phone(
    open_page, signed_in, batch, product
):
    address, ids = batch(2)
    page = open_page(storage_state=signed_in, has_touch=True)
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(address)
    page.locator(".pick").nth(0).tap()
    page.locator(".pick").nth(1).tap()
    assert is_narrow(page)
    page.get_by_role("button", name="Review together").tap()
    expect(page.get_by_role("heading", name="Review 2 messages")).to_be_visible()
    assert is_narrow(page), too_wide(page)
    read_all(page)
    approve = page.get_by_role("button", name="Approve 2 read")
    assert approve.bounding_box()["height"] >= 48
    approve.tap()
    expect(page.get_by_role("heading", name="Approved: 2 of 2")).to_be_visible()
    assert is_narrow(page)
    page.get_by_role("button", name="Undo all 2").tap()
    expect(page.get_by_role("heading", name="Undone: 2 of 2")).to_be_visible()
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
    expect(alert).to_have_text(
        f"Nothing was approved: you typed {unread + 1}, and {unread} of the ticked messages are unread."
    )
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
    expect(page.locator(".ends .failed")).to_have_count(1)
    assert len(states_of(product, ids)) == 11
    page.get_by_role("button", name="Undo all 11").click()
    expect(page.get_by_role("heading", name="Undone: 11 of 12")).to_be_visible()
