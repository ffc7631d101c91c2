"""Deciding in Chromium: one key, one request, the next message; a failure restores what
was typed.
"""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.looking import is_narrow
from tests.desk import some_words

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ana")]

# Longer than a double press, so that the next press counts.
PAUSE = "new Promise((done) => setTimeout(done, 450))"


# Delivers the outcome twice, the second time while the first response is still being
# handled.
DELIVER_TWICE = """message => {
  const tell = () => document.dispatchEvent(
    new CustomEvent("desk:hint", { detail: { message, action: "message.sent", word: "Sent" } }));
  const ask = window.fetch;
  let asked = 0;
  window.fetch = async (url, options) => {
    const answer = await ask(url, options);
    if (String(url).endsWith("/decided/") && ++asked === 1) tell();
    document.body.dataset.asked = asked;
    return answer;
  };
  tell();
}"""


@pytest.fixture
def make(product, ana):
    """Return a function that sends messages to the mailbox whose decisions can be
    undone for five seconds.
    """

    def make(number, *, alone=False):
        if alone:
            product.make_room(but=0)
        # Contents differ: similarity to a rejected message is a high risk, and similar
        # waiting messages are grouped.
        texts = [
            f"Hello Dana, this is letter {n}.\n\n{some_words()}" for n in range(number)
        ]
        sent = [
            product.send(body=text, **{"from": product.known["MAILBOX2_ADDRESS"]})
            for text in texts
        ]
        return [product.held(ana, upstream_id) for upstream_id, _ in sent]

    return make


def on_screen(page):
    return page.evaluate("document.getElementById('message').dataset.message ?? ''")


def wait_for_ahead(page):
    """Wait until the next message and its body have been prefetched."""
    page.wait_for_selector("article[inert][data-letter=here]", state="attached")


def decide_after_a_pause(page, key):
    page.evaluate(PAUSE)
    page.keyboard.press(key)


def test_notice_counts_down_undo_brings_the_message_back_and_the_notice_ends_with_what_became_of_it(
    desk, product, make, ana
):
    first, second = make(2)
    desk.goto(product.page(first, "?order=soonest"))
    wait_for_ahead(desk)
    notice = desk.locator("#decided")
    desk.keyboard.press("a")
    expect(notice).to_contain_text(re.compile(r"Sends in [1-5]\d s"))
    assert on_screen(desk) == second["id"]
    desk.keyboard.press("z")
    expect(
        desk.locator("#message").get_by_text(
            "Undone. The message is held again; nothing was sent."
        )
    ).to_be_visible()
    assert on_screen(desk) == first["id"]
    desk.wait_for_url(product.page(first, "?order=soonest"))
    assert ana.find(first["upstream_id"])["decision"] == "undone"
    decide_after_a_pause(desk, "a")
    expect(notice).to_contain_text("Approved. Sends in")
    product.sql("UPDATE approvals_decision SET due_at = now() WHERE state = 'recorded'")
    expect(notice).to_contain_text("Delivered")
    expect(notice.get_by_role("button", name="Undo")).to_have_count(0)
    desk.evaluate(DELIVER_TWICE, first["id"])
    expect(desk.locator("body")).to_have_attribute("data-asked", "2")


def test_key_held_down_and_a_double_click_decide_one_message_each(
    desk, product, make, ana
):
    first, second, third = make(3)
    desk.goto(product.page(first))
    wait_for_ahead(desk)
    for _ in range(6):
        desk.keyboard.down("a")
    desk.keyboard.up("a")
    expect(desk.locator(f"#decided[data-message='{first['id']}']")).to_contain_text(
        "Approved. Sends in"
    )
    assert on_screen(desk) == second["id"]
    assert ana.find(second["upstream_id"])["decision"] is None
    wait_for_ahead(desk)
    desk.evaluate(PAUSE)
    desk.locator("#decide button.go").dblclick()
    expect(desk.locator(f"#decided[data-message='{second['id']}']")).to_contain_text(
        "Approved. Sends in"
    )
    assert on_screen(desk) == third["id"]
    leaving = [one["upstream_id"] for one in ana.queue("leaving")]
    assert [leaving.count(row["upstream_id"]) for row in (first, second, third)] == [
        1,
        1,
        0,
    ]
    assert ana.find(third["upstream_id"])["decision"] is None


def test_refusal_after_the_next_was_painted_brings_back_what_was_typed(
    desk, product, make, ben
):
    first, second = make(2)
    desk.watch.expected += ["409", "ERR_FAILED"]
    desk.route("**/live/**", lambda route: route.abort())
    desk.goto(product.page(first))
    wait_for_ahead(desk)
    desk.keyboard.press("r")
    # A digit would send it: the arrows choose, and words can be added.
    for _ in range(3):
        desk.keyboard.press("ArrowDown")
    desk.keyboard.type("No such discount")
    assert ben.decide(first["id"], "approve", first["fingerprint"]).status_code == 302
    desk.keyboard.press("Control+Enter")
    expect(
        desk.get_by_text("Ben Okafor approved this message first, at").first
    ).to_be_visible()
    assert on_screen(desk) == first["id"]
    assert first["id"] in desk.url
    remaining = desk.locator(".lines-kept")
    expect(remaining).to_contain_text(
        "It promises something that nobody here has agreed to."
    )
    expect(remaining).to_contain_text("No such discount")
    assert desk.locator("article").count() >= 1
    assert desk.locator(f"#message[data-message='{second['id']}']").count() == 0


def test_presets_are_chosen_by_touch_on_a_small_phone(
    open_page, signed_in, product, make
):
    first, second = make(2)
    page = open_page(storage_state=signed_in, has_touch=True)
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(product.page(first))
    page.locator("#reject summary").tap()
    page.locator("#message").get_by_text("Already answered").tap()
    send = page.get_by_role("button", name="Reject with this reason")
    send.scroll_into_view_if_needed()
    assert send.bounding_box()["height"] >= 48
    assert is_narrow(page)
    send.tap()
    expect(page.locator("#decided")).to_contain_text("Rejected. Takes effect in")
    expect(
        page.locator("#decided").get_by_role("button", name="Undo")
    ).to_be_in_viewport()
    assert on_screen(page) == second["id"]
