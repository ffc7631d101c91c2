"""Single keys in Chromium: what each does, where none acts, and how a person switches
them off.
"""

import random

import pytest
from playwright.sync_api import expect

from tests.browser.looking import on_screen, pause, wait_for_ahead

pytestmark = pytest.mark.slow


@pytest.fixture
def row(hold):
    return hold()


def is_undecided(ana, row):
    found = ana.find(row["upstream_id"])
    return found is not None and found["decision"] is None


def test_keys_do_nothing_in_the_search_with_a_modifier_in_composition_or_held_down(
    desk, product, ana, row
):
    desk.goto(product.page(row))
    desk.locator("#q").focus()
    desk.keyboard.type("abzjx?/A")
    expect(desk.locator("#q")).to_have_value("abzjx?/A")
    assert desk.locator("dialog[open]").count() == 0
    desk.goto(product.page(row))
    for press in ("Control+a", "Alt+a", "Meta+a", "Shift+a"):
        desk.keyboard.press(press)
    script = "(more) => document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'a', bubbles: true, ...more}))"
    for field, value in (("isComposing", True), ("keyCode", 229), ("repeat", True)):
        desk.evaluate(script, {field: value})
    # The next request comes after any that these keys may have sent.
    desk.keyboard.press("v")
    expect(desk.locator("#sheet .tab[aria-current]")).to_have_text("Text")
    expect(desk.locator("#decided")).to_have_count(0)
    assert is_undecided(ana, row)


def test_keys_of_another_script_act_by_the_letter_on_the_same_key(desk, product, row):
    desk.goto(product.page(row))
    expect(desk.locator("#sheet .tab[aria-current]")).to_be_visible()
    first = desk.locator("#sheet .tab[aria-current]").inner_text()
    script = "(keys) => document.body.dispatchEvent(new KeyboardEvent('keydown', {bubbles: true, ...keys}))"
    # A French A is where an American Q is, and stays an A.
    desk.evaluate(script, {"key": "w", "code": "KeyV"})
    expect(desk.locator("#sheet .tab[aria-current]")).to_have_text(first)
    desk.evaluate(script, {"key": "м", "code": "KeyV"})
    expect(desk.locator("#sheet .tab[aria-current]")).not_to_have_text(first)
    # The help names what was pressed, what the browser tells, and else Latin letters.
    desk.evaluate(
        "() => { navigator.keyboard.getLayoutMap = async () => new Map([['KeyA', 'φ'], ['KeyV', 'v']]); }"
    )
    # W has opened the choice of a later time, in which no key acts.
    desk.keyboard.press("Escape")
    desk.keyboard.press("?")
    for words, key in (
        ("Next view", "V М"),
        ("Review selected", "A Φ"),
        ("Snooze", "S"),
    ):
        line = desk.locator("#keys li").filter(has_text=words)
        expect(line.locator("kbd").last).to_have_text(key)
    desk.keyboard.press("Escape")
    # A vowel sign on a Thai keyboard, two letters on an Arabic one, and the top row of a
    # French one.
    digit = script.replace("body", "activeElement")
    for key in ("\u0e34", "\u0644\u0627"):
        desk.goto(product.page(row))
        desk.evaluate(script, {"key": key, "code": "KeyB"})
        desk.evaluate(digit, {"key": "'", "code": "Digit4"})
        message = desk.locator("#message")
        expect(message.get_by_label("Answer the question")).to_be_checked()
    desk.goto(product.page(row))
    desk.evaluate(script, {"key": "л", "code": "KeyK", "ctrlKey": True})
    expect(desk.locator("#find").get_by_role("searchbox")).to_be_focused()
    # W of a Hebrew keyboard, before any letter was pressed.
    desk.goto(product.page(row))
    desk.evaluate(script, {"key": "'", "code": "KeyW"})
    expect(desk.locator("#later")).to_have_attribute("open", "")


def test_key_that_does_nothing_says_why_on_the_page(desk, product, hold):
    product.make_room(but=0)
    nothing = "This key does nothing here."
    desk.goto(product.page(hold()))
    expect(desk.locator("body[data-stream=open]")).to_be_attached()
    said = desk.locator("#announce:not(.sr-only)")
    for keys, words in (
        ("j", "There is no message after this one."),
        ("Shift+A", "Nothing is selected."),
        ("n", "There are no new messages here."),
        ("4", nothing),
        # Caps Lock makes a capital of the key alone.
        ("J", "Caps Lock is on"),
        ("r 9", "No choice has this number."),
        ("Escape s 9", nothing),
    ):
        for key in keys.split():
            desk.keyboard.press(key)
        expect(said).to_contain_text(words)
    desk.keyboard.press("3")
    expect(desk.locator("#snooze-at")).to_be_focused()
    desk.goto(product.known["DASHBOARD_URL"] + "/audit/")
    for key in ("u", "x", "Shift+X", "Shift+A", "z", "v"):
        desk.keyboard.press(key)
        expect(said).to_have_text(nothing)
        desk.evaluate("window.desk.say('')")
    off = desk.get_by_label("Turn shortcuts off")
    try:
        desk.keyboard.press("?")
        with desk.expect_response("**/me/keys/") as saved:
            off.check()
        assert saved.value.status == 204
        desk.keyboard.press("Escape")
        desk.keyboard.press("u")
        expect(desk.locator("#announce")).to_be_empty()
        desk.reload()
        expect(off).to_be_checked()
    finally:
        product.sql("UPDATE people_person SET keys_off = false")


def test_one_key_rejects_with_the_reason_of_the_last_rejection(
    desk, product, ana, hold
):
    word = "".join(random.choices("abcdefghijklmnop", k=12))
    first, second = hold(f"Same {word} 1"), hold(f"Same {word} 2")
    desk.goto(f"{product.known['DASHBOARD_URL']}/queue/?q={word}&group=none")
    wait_for_ahead(desk)
    pause(desk)
    desk.keyboard.press("r")
    desk.keyboard.press("2")
    expect(desk.locator(f"#message[data-message='{second['id']}']")).to_be_visible()
    pause(desk)
    # With Caps Lock on, the key of R alone.
    desk.keyboard.press("R")
    expect(desk.locator("#decided")).to_contain_text("Same")
    assert on_screen(desk) == second["id"]
    # A press right after that is taken for the rest of a double press.
    while is_undecided(ana, second):
        pause(desk)
        desk.keyboard.press("Shift+R")
    question = """
        SELECT d.reason FROM approvals_decision d JOIN mirror_message m ON m.id = d.message_id
        WHERE m.public_id = %s
    """
    reasons = [product.sql(question, one["id"]) for one in (first, second)]
    assert reasons[0] == reasons[1] != []


def test_keys_of_a_composition_and_of_no_element_do_nothing(desk, product, row):
    desk.goto(product.page(row))
    reason = desk.locator("#send-back-reason")
    script = "(field, keys) => field.dispatchEvent(new KeyboardEvent('keydown', {bubbles: true, ...keys}))"
    # An extension may send a key to the document. An error would fail the test.
    desk.evaluate(f"({script})(document, {{key: 'j'}})")
    desk.locator("#send-back > summary").click()
    comment = desk.locator("#comment-text")
    for field in (reason, comment):
        field.fill("にほんご")
        for sign in ({"isComposing": True}, {"keyCode": 229}):
            field.evaluate(script, {"key": "Escape", **sign})
            expect(field).to_be_focused()
    desk.keyboard.press("Escape")
    expect(comment).not_to_be_focused()


def test_link_with_a_modifier_opens_elsewhere_and_leaves_the_page(desk, product, hold):
    hold()
    desk.goto(product.page(hold()))
    here = desk.url
    for link in ("#list .item:not([aria-current])", "#sheet .tab:not([aria-current])"):
        for modifier in ("Control", "Shift"):
            with desk.context.expect_page() as opened:
                desk.locator(link).first.click(modifiers=[modifier])
            opened.value.close()
    assert desk.url == here
    expect(desk.locator("#sheet .tab").first).to_have_attribute("aria-current", "true")


def test_key_pressed_before_a_message_is_painted_moves_on_from_its_row(
    desk, product, hold
):
    word = "".join(random.choices("abcdefghijklmnop", k=12))
    for number in range(4):
        hold(f"Keys {word} {number}", body=f"About {word}, number {number}.")
    desk.goto(f"{product.known['DASHBOARD_URL']}/queue/?q={word}&group=none")
    wait_for_ahead(desk)
    # The key comes after the swap and before htmx settles, which paints the row.
    desk.evaluate(
        """() => {
          const press = () => document.body.dispatchEvent(
            new KeyboardEvent("keydown", {key: "j", bubbles: true}));
          const items = () => [...document.querySelectorAll("#list .item")];
          const swapped = ({detail}) => {
            if (detail.target?.id !== "message") return;
            document.removeEventListener("htmx:afterSwap", swapped);
            document.addEventListener("desk:painted", () => {
              document.body.dataset.current =
                items().findIndex((item) => item.hasAttribute("aria-current"));
            }, {once: true});
            press();
          };
          document.addEventListener("htmx:afterSwap", swapped);
        }"""
    )
    desk.locator("#list .item").nth(2).click()
    desk.locator("body[data-current]").wait_for(state="attached")
    assert desk.locator("body").get_attribute("data-current") == "3"


def test_without_an_undo_window_the_second_press_decides(desk, product, ana):
    row = product.hold(ana)
    product.set_undo_window("0 seconds")
    try:
        desk.goto(product.page(row))
        desk.keyboard.press("a")
        expect(desk.locator("#decide button.go")).to_be_focused()
        assert is_undecided(ana, row)
        desk.keyboard.press("a")
        expect(desk.locator("#decided")).to_contain_text("Approved.")
    finally:
        product.set_undo_window("300 milliseconds")


def test_edit_opens_in_its_text_and_is_sent_by_keys(desk, product, row):
    desk.goto(product.page(row))
    desk.keyboard.press("e")
    expect(desk.locator("#id_markdown")).to_be_focused()
    desk.wait_for_load_state()
    desk.keyboard.type("Hello. ")
    desk.keyboard.press("Control+Enter")
    desk.wait_for_url(lambda url: "/edit/" not in url)
    question = """
        SELECT count(*) FROM approvals_replacement r JOIN mirror_message m ON m.id = r.message_id
        WHERE m.public_id = %s
    """
    assert product.sql(question, row["id"]) == [(1,)]
