"""Every hostile mail of the corpus, rendered in Chromium: none loads, moves or requests anything."""

from typing import ClassVar
from urllib.parse import urlsplit

import pytest

from dashboard.frame.middleware import _FRAME_POLICY
from rendering.render import render_message
from tests.corpus import all_mails
from tests.serving import Handler, serving

MAILS = {mail.name: mail for mail in all_mails()}
# A control: this mail, unsanitised, loads from here.
LOUD = '<img src="{origin}/seen"><link rel="stylesheet" href="{origin}/seen"><script src="{origin}/seen"></script>'


# Number of mails on one page: a page for each would take minutes.
FRAMES_A_PAGE = 16
NAMES = list(MAILS)
PAGES = [NAMES[first : first + FRAMES_A_PAGE] for first in range(0, len(NAMES), FRAMES_A_PAGE)]


class CorpusHandler(Handler):
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
            text = render_message(MAILS[name].content).document
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
def origin():
    with serving(CorpusHandler) as origin:
        yield origin


class Acts:
    """Everything that a mail must not do while it is shown."""

    def __init__(self, page, origin):
        self.found = []
        host = urlsplit(origin).netloc
        page.on("request", lambda request: self._asked(request, host))
        page.on("dialog", lambda dialog: (self.found.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("popup", lambda popup: self.found.append(f"window {popup.url}"))
        page.on("download", lambda load: self.found.append(f"download {load.url}"))
        page.on("pageerror", lambda error: self.found.append(f"error {error}"))
        page.on("console", lambda line: self.found.append(line.text) if line.type == "error" else None)

    def _asked(self, request, host):
        parts = urlsplit(request.url)
        ours = parts.netloc == host and parts.path.startswith(("/page/", "/safe/", "/open/", "/raw/", "/favicon"))
        if parts.scheme != "data" and not ours:
            self.found.append(f"request {request.url}")


@pytest.fixture
def watched(chromium, origin):
    """A plain page, not one of the desk, whose actions are recorded."""
    context = chromium.new_context(viewport={"width": 1000, "height": 800})
    page = context.new_page()
    page.acts = Acts(page, origin)
    yield page
    context.close()


def look_at(page, origin, kind, names):
    """Open these mails, and return their violations."""
    page.acts.found.clear()
    page.goto(f"{origin}/page/{kind}/{','.join(names)}")
    wanted = [f"{origin}/{kind}/{name}" for name in names]
    went = [frame.url for frame in page.frames[1:] if frame.url not in wanted]
    # Chromium's request for a favicon is answered with 404.
    found = [one for one in page.acts.found if "404" not in one]
    assert len(page.frames) == len(names) + 1
    return [*found, *(f"went to {url}" for url in went)]


@pytest.mark.parametrize("kind", [pytest.param("safe", marks=pytest.mark.slow), "open"])
def test_no_mail_of_the_corpus_loads_moves_asks_or_fails_anything(watched, origin, kind):
    # "open": without policy and sandbox, sanitised mail still loads nothing and runs nothing.
    wrong = {names[0]: found for names in PAGES if (found := look_at(watched, origin, kind, names))}
    assert wrong == {}
    assert len(NAMES) >= 80


def test_what_a_mail_loads_where_nothing_stops_it_is_seen_and_the_policy_alone_stops_it(watched, origin):
    # Chromium also reports requests that the policy blocks.
    for kind, expect in (("raw", watched.expect_response), ("safe", watched.expect_request)):
        CorpusHandler.asked.clear()
        with expect(lambda it: urlsplit(it.url).path == "/seen"):
            look_at(watched, origin, kind, ["loud"])
        assert ("/seen" in CorpusHandler.asked) == (kind == "raw")


SEEN = """() => [...document.querySelectorAll('.ghost')].map((box) => {
    const { width, height } = box.getBoundingClientRect(), look = getComputedStyle(box);
    const isSeen = width > 4 && height > 4 && look.visibility === 'visible' && Number(look.opacity) === 1
        && parseFloat(look.fontSize) >= 10 && look.color !== look.backgroundColor;
    return [isSeen, box.textContent];
})"""


def test_what_may_look_different_is_marked_in_a_box_that_a_person_sees(watched, origin):
    shown = {name: render_message(mail.content).word_differences for name, mail in MAILS.items()}
    passages = {name: [one.passage for one in found if one.passage and one.mark] for name, found in shown.items()}
    names, wrong = [name for name in NAMES if any(one.mark for one in shown[name])], {}
    assert len(names) > 30
    for first in range(0, len(names), FRAMES_A_PAGE):
        look_at(watched, origin, "safe", names[first : first + FRAMES_A_PAGE])
        for frame in watched.frames[1:]:
            name = frame.url.rpartition("/")[2]
            boxes = frame.evaluate(SEEN)
            whole = "".join(frame.locator("body").inner_text().split())
            missing = [text for text in passages[name] if not any(word in whole for word in text.split())]
            if missing or not boxes or not all(is_seen for is_seen, _ in boxes):
                wrong[name] = missing or boxes
    assert wrong == {}
