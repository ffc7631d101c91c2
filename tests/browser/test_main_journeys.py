"""Reading and deciding in Chromium: by keys, by touch, two people at once, and hostile
mail. The ordinary run has the main ones of these.

The other files look at every page and at what else can happen, with --all.
"""

import re
import uuid

import pytest
from playwright.sync_api import expect

from tests.browser.looking import (
    on_screen,
    pause,
    wait_for_ahead,
)
from tests.desk import TIMEOUT, some_words

# Inside the page, because on a busy machine two presses from outside may be too far
# apart.
PRESS_TWICE = """async (next) => {
  const press = () => document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "a", bubbles: true}));
  press();
  while (document.getElementById("message").dataset.message !== next) await new Promise((go) => setTimeout(go));
  press();
}"""


pytestmark = pytest.mark.usefixtures("ana")


def rows_of(page):
    """The messages in the list, from top to bottom."""
    return page.locator("#list .item").evaluate_all(
        "rows => rows.map((row) => row.dataset.message)"
    )


def test_open_queue_announces_a_message_that_is_read_approved_and_leaves(
    desk, product, ana
):
    desk.wait_for_selector("[data-stream='open']", state="attached")
    before = rows_of(desk)
    upstream_id, subject = product.send(
        body=f"Hello **Dana**, your *refund* is on its way.\n\n{some_words()}"
    )
    expect(desk.get_by_role("link", name="1 new")).to_be_visible()
    # Nothing moves under the cursor until the reader loads it.
    expect(desk).to_have_title(re.compile(r"^\("))
    assert rows_of(desk) == before
    row = product.held(ana, upstream_id)
    desk.goto(product.page(row))
    expect(desk.get_by_role("heading", name=subject)).to_be_visible()
    expect(desk.frame_locator("#message iframe").locator("strong")).to_have_text("Dana")
    desk.get_by_role("button", name="Approve and send").click()
    expect(desk.locator("#decided")).to_contain_text("Delivered")
    assert len(product.mails(subject)) == 1


def opened(ana, row):
    return [one for one in ana.trace(row["id"]) if one["action"] == "message.opened"]


def test_message_fetched_ahead_that_changes_meanwhile_is_never_decided_unread(
    open_page, signed_in, product, ana, hold
):
    first, second = (hold() for _ in range(2))
    page = open_page(storage_state=signed_in)
    page.watch.expected += ["409", "ERR_FAILED"]
    for pattern in ("**/live/**", "**/pulse/**"):
        page.route(pattern, lambda route: route.abort())
    page.goto(product.page(first))
    wait_for_ahead(page)
    product.sql(
        "UPDATE gateway_email SET markdown = 'Pay somebody else' WHERE id = %s",
        second["upstream_id"],
    )
    of_second = "FROM mirror_message WHERE upstream_id = %s"
    [(connection,)] = product.sql(
        f"SELECT connection_id {of_second}", second["upstream_id"]
    )
    ana.post(f"/connections/{connection}/read/", ana.get("/connections/"))
    revisions = f"SELECT count(*) FROM mirror_revision WHERE message_id = (SELECT id {of_second})"
    product.wait_for(
        lambda: product.sql(revisions, second["upstream_id"]) == [(2,)],
        TIMEOUT,
        "the new version",
    )
    routes = []
    page.route("**/verdict/", lambda route: routes.append(route))
    page.keyboard.press("a")
    expect(page.locator(f"#message[data-message='{second['id']}']")).to_be_visible()
    pause(page)
    page.keyboard.press("a")
    product.wait_for(lambda: routes, timeout=TIMEOUT, what="the first verdict")
    page.unroute("**/verdict/")
    routes[0].continue_()
    # Either the second verdict was refused, or the page announced the changed message
    # in time.
    expect(page.get_by_text("changed").first).to_be_visible()
    assert ana.find(second["upstream_id"])["decision"] is None
    product.wait_for(
        lambda: ana.find(first["upstream_id"], tab="leaving"),
        timeout=TIMEOUT,
        what="the first decision",
    )


@pytest.mark.slow
def test_of_two_who_press_at_once_the_second_gets_409_and_sees_who_won(
    open_as, product, ana, hold
):
    row = hold(**{"from": product.known["MAILBOX_ADDRESS"]})
    pages = [open_as("REVIEWER"), open_as("REVIEWER2")]
    for page in pages:
        # With their streams closed, neither page knows of the other's decision.
        page.route("**/live/**", lambda route: route.abort())
        page.watch.expected += ["409", "ERR_FAILED"]
        page.goto(product.page(row))
    pages[1].keyboard.press("r")
    pages[1].keyboard.type("A careful reason")
    press = "(name) => setTimeout(() => document.querySelector(name).click(), 100)"
    pages[0].evaluate(press, "#decide [data-key=a]")
    pages[1].evaluate(press, "#reject button")
    notices = [page.get_by_text("this message first, at") for page in pages]
    product.wait_for(
        lambda: any(one.count() for one in notices),
        timeout=TIMEOUT,
        what="the second is told",
    )
    (loser,) = [index for index, one in enumerate(notices) if one.count()]
    name = ("Ben Okafor rejected", "Ana Ferreira approved")[loser]
    expect(pages[loser].get_by_text(f"{name} this message first").first).to_be_visible()
    product.wait_for(
        lambda: ana.find(row["upstream_id"], tab="done"),
        timeout=TIMEOUT,
        what="the decision to be done",
    )
    if loser == 1:
        product.wait_for(
            lambda: product.mails(row["subject"]), timeout=TIMEOUT, what="the mail"
        )
    assert len(product.mails(row["subject"])) == loser


@pytest.mark.slow
def test_whole_review_by_keyboard_and_keys_are_only_letters_where_one_types(
    desk, product, ana, hold
):
    word = "".join(chr(97 + int(digit, 16)) for digit in uuid.uuid4().hex[:12])
    row = hold(f"Keys {word}")
    desk.goto(f"{product.known['DASHBOARD_URL']}/queue/?q={word}&group=none")
    # No key decides while the list of keys is open.
    expect(desk.locator(f"#message[data-message='{row['id']}']")).to_be_visible()
    # The message opened itself, and what was meant for the page before decides nothing.
    pause(desk)
    desk.keyboard.press("?")
    expect(desk.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    desk.keyboard.press("a")
    desk.keyboard.press("Escape")
    expect(desk.locator("dialog[open]")).to_have_count(0)
    desk.keyboard.press("u")
    expect(desk.locator(".item[aria-current]")).to_be_focused()
    desk.keyboard.press("/")
    expect(desk.locator("#q")).to_be_focused()
    desk.keyboard.press("Tab")
    desk.keyboard.press("r")
    desk.locator("#reject-reason").focus()
    desk.keyboard.type("abzjx?/A")
    expect(desk.locator("#reject-reason")).to_have_value("abzjx?/A")
    assert ana.find(row["upstream_id"])["decision"] is None
    desk.keyboard.press("Control+Enter")
    expect(desk.locator("#decided")).to_contain_text("Rejected. Takes effect in")
    desk.keyboard.press("z")
    expect(
        desk.locator("#message").get_by_text(
            "Undone. The message is held again; nothing was sent."
        )
    ).to_be_visible()
    pause(desk)
    desk.keyboard.press("a")
    expect(desk.locator("#decided")).to_contain_text("Approved. Sends in")


@pytest.mark.slow
def test_without_scripts_one_can_list_search_read_and_decide(
    open_page, signed_in, product, ana
):
    upstream_id, subject = product.send(
        f"Plain {uuid.uuid4().hex[:8]}", **{"from": product.known["MAILBOX2_ADDRESS"]}
    )
    product.held(ana, upstream_id)
    page = open_page(java_script_enabled=False, storage_state=signed_in)
    page.goto(product.known["DASHBOARD_URL"] + "/queue/")
    expect(page.get_by_role("heading", level=1)).to_contain_text("waiting")
    search = page.get_by_role("searchbox").first
    search.fill(subject.split()[1])
    search.press("Enter")
    page.wait_for_url("**q=**")
    assert page.locator(".rows .item").count() == 1
    page.get_by_role("link", name=subject).click()
    expect(
        page.frame_locator("#message iframe").get_by_text("your refund for order 4471")
    ).to_be_visible()
    page.locator("#reject > summary").click()
    page.locator("#reject-reason").fill("Not this one")
    page.get_by_role("button", name="Reject with this reason").click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    assert ana.find(upstream_id) is None


@pytest.mark.slow
def test_session_that_ended_keeps_what_was_typed(open_as, product, ana, hold):
    row = hold()
    page = open_as("REVIEWER2")
    page.goto(product.page(row))
    page.keyboard.press("r")
    page.keyboard.type("A long and careful reason")
    page.context.clear_cookies(name=re.compile("session"))
    page.watch.expected += ["401", "Framing", "csp-report", "ERR_BLOCKED"]
    page.get_by_role("button", name="Reject with this reason").click()
    expect(page.locator("#signed-out")).to_contain_text("Nothing was decided. What")
    expect(page.locator("#reject-reason")).to_have_value("A long and careful reason")
    assert ana.find(row["upstream_id"])["decision"] is None
    # Who signs in again in a new tab goes on here.
    page.context.add_cookies(open_as("REVIEWER2").context.cookies())
    with page.expect_response(lambda one: "/pulse/" in one.url and one.status == 200):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    with page.expect_response(lambda one: one.url.endswith("/verdict/")) as answer:
        page.get_by_role("button", name="Reject with this reason").click()
    assert answer.value.status == 200


HOSTILE = (
    '<img src="https://track.evil.example/o.gif" srcset="https://track.evil.example/2.gif 2x">\n\n'
    '<div style="position:fixed;z-index:2147483647;top:0;left:0;width:4000px;height:4000px">over</div>\n\n'
    '<a href="javascript:alert(1)" target="_top">press</a> <script>parent.document.title = "owned"</script>'
    '<form action="https://evil.example/"><button>go</button></form><iframe src="https://evil.example/"></iframe>'
)

# In one step: the page may still be moving while the message gets its height.
IS_ON_TOP = """element => {
  const { x, y, width, height } = element.getBoundingClientRect();
  return element.contains(document.elementFromPoint(x + width / 2, y + height / 2));
}"""


@pytest.mark.slow
def test_hostile_letter_lies_over_nothing_asks_for_no_picture_and_runs_nothing(
    desk, product, hold
):
    row = hold(body=f"{HOSTILE}\n\n{some_words()}")
    asked = []
    desk.on("request", lambda request: asked.append(request.url))
    desk.goto(product.page(row))
    face = desk.frame_locator("#message iframe.face")
    expect(
        face.get_by_text("remote picture not loaded: track.evil.example").first
    ).to_be_visible()
    expect(desk.locator("#strip")).to_contain_text("not loaded")
    for selector in (
        "#decide [data-key=a]",
        "#decide [data-key=r]",
        "#tab-source",
        "#message-bar .push a",
    ):
        one = desk.locator(selector).first
        one.scroll_into_view_if_needed()
        assert one.evaluate(IS_ON_TOP), selector
    assert (
        face.locator("button, form, input, iframe, script, img[src^='http']").count()
        == 0
    )
    assert "owned" not in desk.title()
    assert desk.locator("#message iframe").get_attribute("sandbox") == ""
    assert [url for url in asked if "evil.example" in url] == []


@pytest.mark.slow
def test_one_key_decides_and_the_next_message_is_there_before_the_answer(
    desk, product, ana, hold
):
    first, second, third = (hold() for _ in range(3))
    desk.goto(product.page(first))
    wait_for_ahead(desk)
    asked = []
    # The answer is delayed: the screen shows the prefetched message. A double press
    # decides one message.
    desk.route("**/verdict/", lambda route: asked.append(route))
    desk.evaluate(PRESS_TWICE, second["id"])
    expect(desk.locator("#decided")).to_contain_text("Recording")
    assert on_screen(desk) == second["id"]
    assert desk.url.endswith(f"/queue/{second['id']}/")
    product.wait_for(lambda: asked, timeout=TIMEOUT, what="one request")
    asked[0].continue_()
    notice = desk.locator("#decided")
    expect(notice).to_contain_text("Approved. Sends in")
    expect(notice).to_be_focused()
    assert len(asked) == 1
    product.wait_for(
        lambda: opened(ana, second),
        timeout=TIMEOUT,
        what="the second to be noted as opened",
    )
    assert opened(ana, third) == [], "fetched ahead is not read"
    assert ana.find(second["upstream_id"])["decision"] is None
