"""Deciding in Chromium: one cursor, one key, one request, the next message; a failure
restores what was typed, and what changed is shown before it is decided.
"""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.looking import moving, on_screen, pause, wait_for_ahead

pytestmark = pytest.mark.slow

# What the page shows in the frame after a key.
NEXT_FRAME = """([key, id]) => new Promise((done) => {
  requestAnimationFrame(() => {
    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    requestAnimationFrame(() => done({
      open: document.getElementById("message").dataset.message,
      chip: document.querySelector(`#list [data-message="${id}"] [data-chip]`).textContent,
      notice: document.getElementById("decided")?.textContent ?? "",
    }));
  });
})"""
UNDONE = "Undone. The message is held again; nothing was sent."
# Whether nothing lies over a button.
ON_TOP = """(button) => {
  const { x, y, width, height } = button.getBoundingClientRect();
  return button.contains(document.elementFromPoint(x + width / 2, y + height / 2));
}"""
BODY = "Please pay **EUR 12,400** by Friday.\n\nKind regards"


def row_of(page, one):
    return page.locator(f"#list .item[data-message='{one['id']}']")


def is_open(page, one):
    expect(page.locator(f"#message[data-message='{one['id']}']")).to_be_visible()
    expect(row_of(page, one)).to_have_attribute("aria-current", "true")
    expect(row_of(page, one)).to_be_in_viewport(ratio=1)


def test_keys_open_the_neighbour_the_list_follows_and_what_is_decided_folds_into_one_line(
    desk, product, hold
):
    product.make_room(but=0)
    # What other tests decided.
    product.sql("UPDATE approvals_decision SET due_at = now() WHERE state = 'recorded'")
    rows = [hold() for _ in range(14)]
    # htmx reports a request that a newer one replaces.
    desk.watch.expected += ["htmx:afterRequest", "htmx:sendAbort"]
    desk.goto(product.known["DASHBOARD_URL"] + "/")
    desk.keyboard.press("Enter")
    is_open(desk, rows[0])
    for row in rows[1:]:
        desk.keyboard.press("j")
        is_open(desk, row)
    assert desk.evaluate("document.getElementById('rows').scrollTop") > 0
    for row in rows[12:9:-1]:
        desk.keyboard.press("k")
        is_open(desk, row)
    # Faster than the desk answers: the cursor is where the keys led, and what is not on
    # screen is not decided.
    for row in rows[7:10]:
        desk.route(f"**/queue/{row['id']}/", lambda route: route.fulfill(status=204))
    for key in "kkka":
        desk.keyboard.press(key)
    expect(row_of(desk, rows[7])).to_have_attribute("aria-current", "true")
    expect(desk.locator("#decided")).to_have_count(0)
    desk.unroute_all()
    desk.keyboard.press("k")
    is_open(desk, rows[6])

    folded = desk.locator("#folded")
    for number, row in enumerate(rows[6:9], start=1):
        wait_for_ahead(desk)
        pause(desk)
        desk.keyboard.press("a")
        is_open(desk, rows[6 + number])
        expect(row_of(desk, row)).to_be_hidden()
        expect(folded).to_have_text(f"{number} decided · show", use_inner_text=True)
    folded.get_by_role("button", name="show").click()
    expect(row_of(desk, rows[7])).to_contain_text("Sending")
    expect(desk.locator("#decided")).not_to_have_attribute("data-recording", "")
    desk.evaluate("window.desk.emit('desk:note', { title: 'Edited.' })")
    expect(desk.get_by_text("Edited.")).to_be_visible()
    assert desk.locator("#just").get_by_role("button", name="Undo").evaluate(ON_TOP)
    desk.keyboard.press("z")
    is_open(desk, rows[8])
    # Back through all that can still be undone, also on a page that is loaded anew; then
    # it is seen that nothing can.
    for row in (rows[7], rows[6]):
        desk.reload()
        desk.keyboard.press("z")
        is_open(desk, row)
    desk.keyboard.press("z")
    said = desk.locator("#announce")
    expect(said).to_have_text("There is nothing left to undo.")
    assert said.bounding_box()["height"] > 20


def test_press_shows_its_result_in_the_next_frame_and_a_loss_brings_back_all_that_was_pressed(
    desk, product, hold, ana
):
    product.make_room(but=0)
    first, second, third = (hold() for _ in range(3))
    desk.watch.expected += ["ERR_FAILED"]
    desk.goto(product.page(first))
    wait_for_ahead(desk)
    routes = []
    desk.route("**/verdict/", lambda route: routes.append(route))
    shown = desk.evaluate(NEXT_FRAME, ["a", first["id"]])
    assert (shown["open"], shown["chip"]) == (second["id"], "Approving")
    assert "Approved" in shown["notice"]
    # For who wants no motion it is gone at once. What is pressed meanwhile is shown as
    # well, and waits for the first.
    wait_for_ahead(desk)
    desk.emulate_media(reduced_motion="reduce")
    pause(desk)
    # Nor does it wait for a desk that answers nothing else.
    desk.route("**/pulse/**", lambda _: None)
    for key in ("r", "ArrowDown"):
        desk.keyboard.press(key)
    desk.keyboard.type("Too soon")
    desk.keyboard.press("Control+Enter")
    expect(desk.locator(f"#message[data-message='{third['id']}']")).to_be_visible()
    expect(desk.locator("#folded [data-folds]")).to_have_text("2")
    assert moving(desk) == []
    assert len(routes) == 1
    routes[0].abort()
    is_open(desk, first)
    expect(desk.get_by_text("The desk cannot be reached.")).to_be_visible()
    expect(desk.locator("#folded")).to_be_hidden()
    desk.unroute("**/verdict/")
    desk.keyboard.press("j")
    is_open(desk, second)
    expect(desk.locator("#reject-reason")).to_have_value("Too soon")
    for one in (first, second):
        assert ana.find(one["upstream_id"])["decision"] is None
    assert len(routes) == 1


def test_notice_counts_down_undo_brings_the_message_back_and_the_notice_ends_with_what_became_of_it(
    desk, product, hold, ana
):
    first, second = hold(), hold()
    desk.goto(product.page(first, "?order=soonest"))
    wait_for_ahead(desk)
    notice = desk.locator("#decided")
    desk.keyboard.press("a")
    expect(notice).to_contain_text(re.compile(r"Sends in [1-5]\d s"))
    assert on_screen(desk) == second["id"]
    desk.keyboard.press("z")
    expect(desk.locator("#message").get_by_text(UNDONE)).to_be_visible()
    assert on_screen(desk) == first["id"]
    desk.wait_for_url(product.page(first, "?order=soonest"))
    assert ana.find(first["upstream_id"])["decision"] == "undone"
    pause(desk)
    desk.keyboard.press("a")
    expect(notice).to_contain_text("Approved. Sends in")
    product.sql("UPDATE approvals_decision SET due_at = now() WHERE state = 'recorded'")
    expect(notice).to_contain_text("Delivered")
    expect(notice.get_by_role("button", name="Undo")).to_have_count(0)


def test_what_another_decides_after_ones_own_undo_is_news(desk, product, hold, ben):
    one = hold()
    desk.goto(product.page(one))
    expect(desk.locator("body[data-stream=open]")).to_be_attached()
    desk.keyboard.press("a")
    desk.goto(product.page(one))
    desk.locator("#decide [data-key=z]").click()
    expect(desk.locator("#message").get_by_text(UNDONE)).to_be_visible()
    ben.decide(one["id"], "reject", one["fingerprint"], reason="No")
    news = desk.locator("#message-notes [data-news]")
    expect(news).to_contain_text("Ben Okafor")


def test_notice_whose_question_was_answered_just_before_the_last_hint_asks_again(
    desk, product, hold
):
    one = hold()
    late = []

    def answer_as_before(route):
        response = route.fetch()
        text = response.text()
        if "Delivered" in text and not late:
            late.append(text)
            text = text.replace("Delivered", "Sent").replace("delivered", "sent")
        route.fulfill(response=response, body=text)

    desk.route("**/decided/**", answer_as_before)
    desk.goto(product.page(one))
    desk.keyboard.press("a")
    expect(desk.locator("#decided")).to_contain_text("Approved. Sends in")
    product.sql("UPDATE approvals_decision SET due_at = now() WHERE state = 'recorded'")
    expect(desk.locator("#decided")).to_contain_text("Delivered")
    assert late


def test_key_held_down_and_a_double_click_decide_one_message_each(
    desk, product, hold, ana
):
    first, second, third = (hold() for _ in range(3))
    desk.goto(product.page(first))
    wait_for_ahead(desk)
    for _ in range(6):
        desk.keyboard.down("a")
    desk.keyboard.up("a")
    recorded = "Approved. Sends in"
    for row, after in ((first, second), (second, third)):
        notice = desk.locator(f"#decided[data-message='{row['id']}']")
        expect(notice).to_contain_text(recorded)
        assert on_screen(desk) == after["id"]
        assert ana.find(after["upstream_id"])["decision"] is None
        if after is second:
            wait_for_ahead(desk)
            pause(desk)
            desk.locator("#decide button.go").dblclick()
    leaving = [one["upstream_id"] for one in ana.queue("leaving")]
    assert [leaving.count(row["upstream_id"]) for row in (first, second)] == [1, 1]


def test_press_while_an_answer_replaces_the_message_decides_nothing(
    desk, product, hold, ana
):
    first, second, _ = (hold() for _ in range(3))
    desk.goto(product.page(first))
    wait_for_ahead(desk)
    desk.keyboard.press("a")
    expect(desk.locator("#decided")).to_contain_text("Approved. Sends in")
    wait_for_ahead(desk)
    pause(desk)
    routes = []
    desk.route("**/undo/", lambda route: routes.append(route))
    desk.keyboard.press("z")
    desk.keyboard.press("a")
    assert on_screen(desk) == second["id"]
    routes[0].continue_()
    expect(desk.locator("#message").get_by_text(UNDONE)).to_be_visible()
    assert on_screen(desk) == first["id"]
    assert ana.find(second["upstream_id"])["decision"] is None


def test_refusal_after_the_next_was_painted_brings_back_what_was_typed(
    desk, product, hold, ben
):
    first, _ = hold(), hold()
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
    first_by_ben = desk.get_by_text("Ben Okafor approved this message first, at").first
    expect(first_by_ben).to_be_visible()
    assert on_screen(desk) == first["id"]
    assert first["id"] in desk.url
    remaining = desk.locator(".lines-kept")
    expect(remaining).to_contain_text("nobody here has agreed to")
    expect(remaining).to_contain_text("No such discount")


def test_approval_for_later_is_chosen_by_keys_refused_with_what_was_chosen_and_undone(
    desk, product, hold
):
    first, second = hold(), hold()
    desk.watch.expected += ["403"]
    desk.goto(product.page(first, "?order=soonest"))
    wait_for_ahead(desk)
    desk.keyboard.press("w")
    # The next message is in the page too, set aside.
    later = desk.locator("#later")
    expect(later.get_by_label("Tomorrow, 09:00")).to_be_focused()
    # A time in the past is refused: the message comes back with what was chosen.
    time, zone = later.get_by_label("Day and time"), later.get_by_label("time zone")
    time.fill("2020-01-01T09:00")
    zone.fill("Asia/Tokyo")
    desk.keyboard.press("Enter")
    expect(desk.get_by_text("That time is in the past.")).to_be_visible()
    expect(time).to_have_value("2020-01-01T09:00")
    expect(later.get_by_label("Another time")).to_be_checked()
    time.fill("")
    later.get_by_label("Another time").focus()
    desk.keyboard.press("1")
    pause(desk)
    desk.keyboard.press("Enter")
    notice = desk.locator(f"#decided[data-message='{first['id']}']")
    expect(notice).to_contain_text("09:00 (Asia/Tokyo)")
    assert on_screen(desk) == second["id"]
    desk.keyboard.press("z")
    expect(desk.locator("#message").get_by_text(UNDONE)).to_be_visible()


def change(product, ana, row, old="12,400", new="21,400"):
    """Change the row of a held message: the API cannot edit one."""
    product.sql(
        "UPDATE gateway_email SET markdown = replace(markdown, %s, %s) WHERE id = %s",
        *(old, new, row["upstream_id"]),
    )
    query = "SELECT connection_id FROM mirror_message WHERE upstream_id = %s"
    [(connection,)] = product.sql(query, row["upstream_id"])
    ana.post(f"/connections/{connection}/read/", ana.get("/connections/"))


def test_message_that_changes_while_it_is_read_is_shown_again_before_it_is_decided(
    desk, product, hold, ana
):
    row = hold(body=BODY)
    desk.goto(product.page(row))
    desk.wait_for_selector("[data-stream='open']", state="attached")
    desk.keyboard.press("r")
    desk.keyboard.type("Too much")
    change(product, ana, row)
    changed = desk.locator("#message-notes").get_by_text("changed while you had it")
    expect(changed).to_be_visible()
    # Nothing is replaced while it is read: body and reason stay until the reader loads
    # the changes.
    body = desk.frame_locator("#message iframe")
    expect(body.get_by_text("EUR 12,400")).to_be_visible()
    desk.get_by_role("button", name="Show what changed").click()
    expect(desk.locator("#changed ins")).to_contain_text("21,400")
    expect(body.get_by_text("EUR 21,400")).to_be_visible()
    expect(desk.locator("#reject-reason")).to_have_value("Too much")
    expect(desk.locator("#reject-reason")).to_be_hidden()
    desk.keyboard.press("a")
    read = desk.locator("#read-again")
    expect(read).to_be_focused()
    assert ana.find(row["upstream_id"])["decision"] is None
    read.check()
    desk.keyboard.press("a")
    expect(desk.get_by_role("button", name="Undo")).to_be_visible()


def test_rest_of_a_double_click_that_comes_late_decides_nothing(
    desk, product, hold, ana
):
    first, second = hold(), hold()
    desk.goto(product.page(first))
    wait_for_ahead(desk)
    desk.locator("#decide button.go").click()
    expect(desk.locator("#message")).to_have_attribute("data-message", second["id"])
    pause(desk)
    # As on a slow machine, where the second half is handled later.
    desk.locator("#decide button.go").hover()
    desk.mouse.down(click_count=2)
    desk.mouse.up(click_count=2)
    pause(desk)
    assert on_screen(desk) == second["id"]
    assert ana.find(second["upstream_id"])["decision"] is None
    desk.locator("#decide button.go").click()
    expect(desk.locator(f"#decided[data-message='{second['id']}']")).to_be_visible()
