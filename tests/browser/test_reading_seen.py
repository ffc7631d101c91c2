"""Letters read in Chromium: every hostile mail opened, each way to look at one, and how much room the letter has."""

import re
import uuid
from typing import ClassVar
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from approvals.showing import show_letter
from dashboard.middleware import _FRAME_POLICY
from tests.corpus import all_mails
from tests.serving import Handler, serving

pytestmark = pytest.mark.usefixtures("ana")

MAILS = {mail.name: mail for mail in all_mails()}
# Proves that the watch sees a request: this mail, as it was written, loads from here.
LOUD = '<img src="{origin}/seen"><link rel="stylesheet" href="{origin}/seen"><script src="{origin}/seen"></script>'


# So many mails are opened beside one another: one page each would take minutes.
TOGETHER = 16
NAMES = list(MAILS)
PAGES = [NAMES[first : first + TOGETHER] for first in range(0, len(NAMES), TOGETHER)]


class Letters(Handler):
    """Serves each mail of the corpus: /safe/ as the desk does, /open/ without the policy, /raw/ as it was written."""

    asked: ClassVar[list[str]] = []

    def do_GET(self):  # noqa: N802 - as the standard library names it
        self.asked.append(self.path)
        kind, _, name = self.path[1:].partition("/")
        if kind == "page":
            frame = '<iframe {} src="/{}" width="900" height="700"></iframe>'
            how, _, names = name.partition("/")
            sandbox = "sandbox" if how == "safe" else ""
            text = "<!doctype html>" + "".join(frame.format(sandbox, f"{how}/{one}") for one in names.split(","))
        elif name == "loud":
            text = LOUD.format(origin=f"http://{self.headers['Host']}")
        elif name in MAILS:
            text = show_letter(MAILS[name].content).document
        else:
            self.send_error(404)
            return
        body = text.encode("utf-8", "replace")
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        if kind == "safe":
            self.send_header("Content-Security-Policy", _FRAME_POLICY)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def letters():
    with serving(Letters) as origin:
        yield origin


class Acts:
    """Everything that a mail may not do while it is looked at."""

    def __init__(self, page, letters):
        self.found = []
        host = urlsplit(letters).netloc
        page.on("request", lambda request: self._asked(request, host))
        page.on("dialog", lambda dialog: (self.found.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("popup", lambda popup: self.found.append(f"window {popup.url}"))
        page.on("download", lambda load: self.found.append(f"download {load.url}"))
        page.on("pageerror", lambda error: self.found.append(f"error {error}"))
        page.on("console", lambda said: self.found.append(said.text) if said.type == "error" else None)

    def _asked(self, request, host):
        parts = urlsplit(request.url)
        ours = parts.netloc == host and parts.path.startswith(("/page/", "/safe/", "/open/", "/raw/", "/favicon"))
        if parts.scheme != "data" and not ours:
            self.found.append(f"request {request.url}")


@pytest.fixture
def watched(chromium, letters):
    """A plain page, not the desk's, whose every act is noted."""
    context = chromium.new_context(viewport={"width": 1000, "height": 800})
    page = context.new_page()
    page.acts = Acts(page, letters)
    yield page
    context.close()


def look_at(page, letters, kind, names):
    """Open these mails, and return what they did that no mail may do."""
    page.acts.found.clear()
    page.goto(f"{letters}/page/{kind}/{','.join(names)}")
    wanted = [f"{letters}/{kind}/{name}" for name in names]
    went = [frame.url for frame in page.frames[1:] if frame.url not in wanted]
    # The favicon that Chromium asks this server for is not there.
    found = [one for one in page.acts.found if "404" not in one]
    assert len(page.frames) == len(names) + 1
    return [*found, *(f"went to {url}" for url in went)]


@pytest.mark.proves("security 27", "case 8")
@pytest.mark.parametrize("kind", [pytest.param("safe", marks=pytest.mark.slow), "open"])
def test_no_mail_of_the_corpus_loads_moves_asks_or_fails_anything(watched, letters, kind):
    # "open": without the policy and the sandbox, what the sanitiser lets through acts and loads no more than with them.
    wrong = {names[0]: found for names in PAGES if (found := look_at(watched, letters, kind, names))}
    assert wrong == {}
    assert len(NAMES) >= 80


@pytest.mark.parametrize(("kind", "loads"), [("raw", True), ("safe", False)])
def test_what_a_mail_loads_where_nothing_stops_it_is_seen_and_the_policy_alone_stops_it(watched, letters, kind, loads):
    Letters.asked.clear()
    found = look_at(watched, letters, kind, ["loud"])
    # Chromium also reports a request that the policy keeps it from making.
    assert any(one.startswith("request ") for one in found)
    assert ("/seen" in Letters.asked) == loads


SEEN = """() => [...document.querySelectorAll('.ghost')].map((box) => {
    const { width, height } = box.getBoundingClientRect(), look = getComputedStyle(box);
    const isSeen = width > 4 && height > 4 && look.visibility === 'visible' && Number(look.opacity) === 1
        && parseFloat(look.fontSize) >= 10 && look.color !== look.backgroundColor;
    return [isSeen, box.textContent];
})"""


@pytest.mark.proves("security 31")
def test_hidden_text_is_drawn_in_a_box_that_a_person_sees(watched, letters):
    shown = {name: show_letter(mail.content).hidden for name, mail in MAILS.items()}
    hidden = {name: [one.text for one in found if one.certain and one.text] for name, found in shown.items()}
    names, wrong = [name for name in NAMES if hidden[name]], {}
    assert len(names) > 30
    for first in range(0, len(names), TOGETHER):
        look_at(watched, letters, "safe", names[first : first + TOGETHER])
        for frame in watched.frames[1:]:
            name = frame.url.rpartition("/")[2]
            boxes = frame.evaluate(SEEN)
            whole = " ".join(" ".join(text.split()) for _, text in boxes)
            missing = [text for text in hidden[name] if " ".join(text.split())[:40] not in whole]
            if missing or not all(is_seen for is_seen, _ in boxes):
                wrong[name] = missing or boxes
    assert wrong == {}


# on the desk


def held(product, ana, **fields):
    # No letter like one that was rejected: such a one is high risk, and asks for more than a key.
    fields.setdefault("body", " ".join(uuid.uuid4().hex for _ in range(12)))
    upstream_id, subject = product.send(**fields)
    return product.held(ana, upstream_id), subject


def opened(desk, product, row, query=""):
    desk.goto(f"{product.known['DASHBOARD_URL']}/queue/{row['id']}/{query}")
    expect(desk.locator("#sheet")).to_be_visible()
    return desk


HOSTILE = (
    '<img src="https://track.evil.example/o.gif" srcset="https://track.evil.example/2.gif 2x">\n\n'
    '<div style="position:fixed;z-index:2147483647;top:0;left:0;width:4000px;height:4000px">over</div>\n\n'
    '<a href="javascript:alert(1)" target="_top">press</a> '
    '<form action="https://evil.example/"><button>go</button></form>'
)


@pytest.mark.proves("security 28")
def test_nothing_of_a_letter_lies_over_or_beside_its_frame(desk, product, ana):
    row, _ = held(product, ana, body=HOSTILE)
    opened(desk, product, row)
    for selector in ("#decide [data-key=a]", "#decide [data-key=r]", "#tab-source", "#message-bar .push a"):
        box = desk.locator(selector).first.bounding_box()
        middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
        assert desk.evaluate(
            "([x, y, selector]) => document.elementFromPoint(x, y).closest(selector) !== null", [*middle, selector]
        )
    assert desk.frame_locator("#message iframe.face").locator("button, form, input").count() == 0


@pytest.mark.proves("security 29")
def test_remote_pictures_are_boxes_and_are_not_asked_for(desk, product, ana):
    row, _ = held(product, ana, body=HOSTILE)
    asked = []
    desk.on("request", lambda request: asked.append(request.url))
    opened(desk, product, row)
    box = desk.frame_locator("#message iframe.face").get_by_text("remote picture not loaded: track.evil.example")
    expect(box.first).to_be_visible()
    expect(desk.locator("#strip")).to_contain_text("not loaded")
    assert [url for url in asked if "evil.example" in url] == []


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_tab_stays_open_while_the_page_follows_what_becomes_of_the_message(desk, product, ana):
    row, _ = held(product, ana, **{"from": product.known["MAILBOX2_ADDRESS"]})
    opened(desk, product, row, "?view=source")
    desk.keyboard.press("a")
    expect(desk.get_by_role("button", name="Undo").first).to_be_visible()
    desk.goto(f"{product.known['DASHBOARD_URL']}/queue/{row['id']}/?view=source")
    desk.get_by_role("button", name="Undo").first.click()
    expect(desk.locator("#decide [data-key=a]")).to_be_visible()


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("view", ["rendered", "text", "parts", "source", "headers", "changes"])
def test_no_tab_pushes_a_phone_sideways_also_with_scripts_off(open_page, signed_in, product, ana, view):
    row, _ = held(
        product, ana, subject=f"{'W' * 300}{view}",
        body=f"{'word' * 200}\n\n[{'x' * 90}](https://{'y' * 60}.example/{'z' * 200})",
        metadata={"run_id": "r" * 190, "reason": "q" * 300},
    )  # fmt: skip
    page = open_page(java_script_enabled=False, storage_state=signed_in)
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(f"{product.known['DASHBOARD_URL']}/queue/{row['id']}/")
    page.locator(f"#tab-{view}").click()
    expect(page.locator(f"#tab-{view}[aria-current=true]")).to_be_visible()
    width = "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
    assert page.evaluate(width) <= 0
