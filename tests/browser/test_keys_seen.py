"""Single keys, seen in Chromium: what each does, where none acts, and how a person moves them or switches them off."""

import random
import re

import psycopg
import pytest
from playwright.sync_api import expect

from tests.desk import some_words

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ana")]


@pytest.fixture
def row(product, ana):
    return product.held(ana, product.send(**{"from": product.known["MAILBOX2_ADDRESS"]})[0])


@pytest.fixture
def own_keys(product):
    """Ana's keys are her own affair: whatever a test does to them ends with it."""
    yield
    with psycopg.connect(product.known["DATABASE_URL"]) as database:
        query = "UPDATE people_person SET keys_off = false, key_map = '{}' WHERE email = %s"
        database.execute(query, [product.known["REVIEWER_EMAIL"]])


def open_row(page, product, row):
    page.goto(f"{product.known['DASHBOARD_URL']}/queue/{row['id']}/")


def is_undecided(ana, row):
    found = ana.find(row["upstream_id"])
    return found is not None and found["decision"] is None


PLACES = {
    "a search field": "#q",
    "a reason": "#reject-reason",
}


@pytest.mark.proves("case 26")
@pytest.mark.parametrize("place", ["a reason", "a search field"])
def test_keys_do_nothing_in_a_field(desk, product, ana, row, place):
    open_row(desk, product, row)
    if place == "a reason":
        desk.keyboard.press("r")
    desk.locator(PLACES[place]).focus()
    desk.keyboard.type("abzjx?/A")
    expect(desk.locator(PLACES[place])).to_have_value("abzjx?/A")
    assert desk.locator("dialog[open]").count() == 0
    assert is_undecided(ana, row)


@pytest.mark.proves("case 26")
@pytest.mark.parametrize("press", ["Control+a", "Alt+a", "Meta+a", "Shift+a"])
def test_keys_do_nothing_with_a_modifier(desk, product, ana, row, press):
    open_row(desk, product, row)
    desk.keyboard.press(press)
    # What follows is asked after whatever the press may have sent.
    desk.keyboard.press("v")
    expect(desk.locator("#sheet .tab[aria-current]")).to_have_text("Text")
    expect(desk.locator("#decide button.go")).to_be_visible()
    expect(desk.locator("#decided")).to_have_count(0)
    assert is_undecided(ana, row)


@pytest.mark.proves("case 26")
@pytest.mark.parametrize(("field", "value"), [("isComposing", True), ("keyCode", 229), ("repeat", True)])
def test_keys_do_nothing_during_composition_or_when_held_down(desk, product, ana, row, field, value):
    open_row(desk, product, row)
    script = "(more) => document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'a', bubbles: true, ...more}))"
    desk.evaluate(script, {field: value})
    expect(desk.locator("#decide button.go")).to_be_visible()
    assert is_undecided(ana, row)


def test_keys_move_both_ways_jump_in_the_letter_and_load_what_is_new(desk, product, ana):
    word = "".join(random.choices("abcdefghijklmnop", k=12))

    def send(number):
        letter = f"See [the order](https://shop.example/{number}).\n\n{some_words()}"
        return product.held(ana, product.send(f"Keys {word} {number}", body=letter)[0])

    def told():
        return int(re.match(r"\((\d+)", desk.title())[1])

    first, _ = send(1), send(2)
    desk.goto(f"{product.known['DASHBOARD_URL']}/queue/?q={word}&group=none")
    items = desk.locator("#list .item")
    for key, focused in (("j", 0), ("j", 1), ("k", 0)):
        desk.keyboard.press(key)
        expect(items.nth(focused)).to_be_focused()
    desk.keyboard.press("Enter")
    expect(desk.locator(f"#message[data-message='{first['id']}']")).to_be_visible()
    for key, place in (("l", "#links"), ("t", "#thread")):
        desk.keyboard.press(key)
        expect(desk.locator(f"#message {place}")).to_be_focused()
        expect(desk.locator(f"#message {place}")).to_be_in_viewport()
    before = told()
    send(3)
    expect(desk.locator("#new")).to_be_visible()
    product.wait_for(lambda: told() == before + 1, timeout=10, what="the count in the tab's title")
    desk.keyboard.press("n")
    expect(items).to_have_count(3)
    desk.keyboard.press("g")
    desk.keyboard.press("q")
    desk.wait_for_url("**/queue/")


@pytest.mark.proves("security 63")
def test_without_an_undo_window_the_second_press_decides(desk, product, ana):
    row = product.held(ana, product.send()[0])
    product.set_undo_window("0 seconds")
    try:
        open_row(desk, product, row)
        desk.keyboard.press("a")
        expect(desk.locator("#decide button.go")).to_be_focused()
        assert is_undecided(ana, row)
        desk.keyboard.press("a")
        expect(desk.locator("#decided")).to_contain_text("Approved.")
    finally:
        product.set_undo_window("5 seconds")


@pytest.mark.proves("security 63")
def test_keys_are_moved_and_switched_off_for_a_person(desk, product, ana, row, own_keys):
    desk.watch.expected += ["422"]
    open_row(desk, product, row)
    desk.keyboard.press("?")
    desk.get_by_role("link", name="Move keys").click()
    desk.get_by_label("Approve", exact=True).fill("z")
    desk.get_by_role("button", name="Save the keys").click()
    expect(desk.get_by_text("“Z” would be two keys")).to_be_visible()
    desk.get_by_label("Approve", exact=True).fill("y")
    desk.get_by_role("button", name="Save the keys").click()
    expect(desk.get_by_text("Your keys are saved.")).to_be_visible()
    open_row(desk, product, row)
    desk.keyboard.press("a")
    expect(desk.locator("#decide button.go kbd")).to_have_text("Y")
    assert is_undecided(ana, row)
    desk.keyboard.press("?")
    desk.get_by_label("Switch single keys off").check()
    expect(desk.locator("body[data-keys-off]")).to_be_attached()
    desk.keyboard.press("Escape")
    desk.reload()
    desk.keyboard.press("y")
    assert is_undecided(ana, row)
    assert desk.locator("#decide button.go kbd").count() == 0
    desk.keyboard.press("?")
    desk.get_by_label("Switch single keys off").uncheck()
    expect(desk.locator("body:not([data-keys-off])")).to_be_attached()
    desk.keyboard.press("Escape")
    desk.keyboard.press("y")
    expect(desk.locator("#decided")).to_contain_text("Approved.")


@pytest.mark.proves("security 64")
def test_decision_is_announced_and_takes_the_focus(desk, product, ana, row):
    following = product.held(ana, product.send(**{"from": product.known["MAILBOX2_ADDRESS"]})[0])
    open_row(desk, product, row)
    desk.keyboard.press("a")
    notice = desk.get_by_role("alert").filter(has_text="Approved.")
    expect(notice).to_be_focused()
    expect(notice).to_be_in_viewport(ratio=1)
    # Counting down says nothing more: only what is outside of the count is read out.
    expect(notice.locator("[data-seconds]")).to_have_attribute("aria-hidden", "true")
    assert desk.locator("#announce").get_attribute("role") == "status"
    assert desk.locator("#message").get_attribute("data-message") == following["id"]


@pytest.mark.proves("security 64")
def test_what_has_the_focus_is_never_under_a_bar(desk, product, ana, row):
    desk.set_viewport_size({"width": 1024, "height": 600})
    open_row(desk, product, row)
    desk.locator("#subject").focus()
    hidden = []
    for _ in range(40):
        desk.keyboard.press("Tab")
        covered = desk.evaluate(
            """() => {
              const one = document.activeElement, box = one.getBoundingClientRect();
              if (one === document.body || !box.width || one.matches("iframe, .face, [tabindex='0']")) return "";
              const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
              const isSeen = !top || one.contains(top) || top.contains(one);
              return isSeen ? "" : `${one.outerHTML.slice(0, 80)} under ${top.className}`;
            }"""
        )
        hidden += [covered] if covered else []
    assert hidden == []


def test_keys_of_other_parts_are_passed_on(desk, product, row):
    open_row(desk, product, row)
    names = ["desk:bulk", "desk:select", "desk:select-range"]
    desk.evaluate(
        "(names) => names.forEach((name) => document.addEventListener(name, () => (window.heard ??= []).push(name)))",
        names,
    )
    for key in ("A", "x", "X"):
        desk.keyboard.press(key)
    assert desk.evaluate("window.heard") == names


def test_escape_leaves_the_reason_and_a_letter_begins_it(desk, product, row):
    open_row(desk, product, row)
    desk.keyboard.press("b")
    desk.keyboard.press("4")
    expect(desk.locator("#message").get_by_label("Answer the question")).to_be_checked()
    desk.keyboard.type("as asked")
    expect(desk.locator("#send-back-reason")).to_have_value("as asked")
    desk.keyboard.press("Escape")
    expect(desk.locator("#send-back-reason")).to_be_hidden()
    expect(desk.locator("#send-back summary")).to_be_focused()
