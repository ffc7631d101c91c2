"""Every hostile mail of the corpus in Chromium, rendered and with its original look:
none loads, moves or requests anything.
"""

from urllib.parse import urlsplit

import pytest

from dashboard.frame.middleware import _FRAME_POLICY
from rendering.original import draw_original
from rendering.render import render_message
from tests.corpus import all_letters, all_mails

MAILS = {mail.name: mail for mail in all_mails()}
# By name, what is drawn with its original look: the mails, and letters by readers.
ORIGINALS = {one.name: one.content for one in (*all_mails(), *all_letters())}
ORIGIN = "http://corpus.example"
# A control: this mail, unsanitised, loads from here.
LOUD = f'<img src="{ORIGIN}/seen"><link rel="stylesheet" href="{ORIGIN}/seen"><script src="{ORIGIN}/seen"></script>'
# What is served with the policy of the frame, in a sandbox.
GUARDED = ("safe", "original")
# Number of mails on one page: a page for each would take minutes.
FRAMES_A_PAGE = 16
NAMES = list(MAILS)
# What a press or the Tab key could reach and leads somewhere or acts.
ACTS = (
    "[href], [action], [formaction], [ping], [src]:not([src^='data:']), script, "
    "button:enabled, input:enabled, select:enabled, textarea:enabled"
)


def pages(names):
    return [
        names[first : first + FRAMES_A_PAGE]
        for first in range(0, len(names), FRAMES_A_PAGE)
    ]


def answer(route):
    """Answer with a mail as the desk does below /safe/ and /original/, without its
    policy below /open/ and /look/; the loud one as it is.
    """
    kind, _, name = urlsplit(route.request.url).path[1:].partition("/")
    if kind == "page":
        how, _, names = name.partition("/")
        sandbox = "sandbox" if how in GUARDED else ""
        frame = (
            f'<iframe {sandbox} src="/{how}/{{}}" width="900" height="700"></iframe>'
        )
        text = "<!doctype html>" + "".join(map(frame.format, names.split(",")))
    elif name == "loud":
        text = LOUD
    elif kind in ("original", "look"):
        text = draw_original(ORIGINALS[name])
    elif name in MAILS:
        text = render_message(MAILS[name].content).document
    else:
        route.fulfill(status=404)
        return
    headers = {"Content-Security-Policy": _FRAME_POLICY} if kind in GUARDED else {}
    headers["Content-Type"] = "text/html; charset=utf-8"
    route.fulfill(body=text.encode("utf-8", "replace"), headers=headers)


class Acts:
    """Everything that a mail must not do while it is shown."""

    def __init__(self, page):
        self.found = []
        page.on("request", self._asked)
        page.on(
            "dialog",
            lambda dialog: (
                self.found.append(f"dialog {dialog.message}"),
                dialog.dismiss(),
            ),
        )
        page.on("popup", lambda popup: self.found.append(f"window {popup.url}"))
        page.on("download", lambda load: self.found.append(f"download {load.url}"))
        page.on("pageerror", lambda error: self.found.append(f"error {error}"))
        page.on(
            "console",
            lambda line: self.found.append(line.text) if line.type == "error" else None,
        )

    def _asked(self, request):
        ours = tuple(
            f"{ORIGIN}/{kind}"
            for kind in "page/ safe/ open/ raw/ original/ look/ favicon".split()
        )
        if not request.url.startswith(("data:", *ours)):
            self.found.append(f"request {request.url}")


@pytest.fixture
def watched(chromium):
    """A plain page, not one of the desk, whose actions are recorded."""
    context = chromium.new_context(viewport={"width": 1000, "height": 800})
    page = context.new_page()
    page.route("**/*", answer)
    page.acts = Acts(page)
    yield page
    context.close()


def look_at(page, kind, names):
    """Open these mails, and return their violations."""
    page.acts.found.clear()
    page.goto(f"{ORIGIN}/page/{kind}/{','.join(names)}")
    wanted = [f"{ORIGIN}/{kind}/{name}" for name in names]
    went = [frame.url for frame in page.frames[1:] if frame.url not in wanted]
    # Chromium's request for a favicon is answered with 404.
    found = [one for one in page.acts.found if "404" not in one]
    assert len(page.frames) == len(names) + 1
    found += [one.url for one in page.frames[1:] if one.locator(ACTS).count()]
    return [*found, *(f"went to {url}" for url in went)]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        pytest.param("safe", NAMES, marks=pytest.mark.slow),
        ("open", NAMES[::6]),
        pytest.param("open", NAMES, marks=pytest.mark.slow),
        pytest.param("look", list(ORIGINALS), marks=pytest.mark.slow),
        pytest.param("original", list(ORIGINALS), marks=pytest.mark.slow),
    ],
    ids="safe open open-all look original".split(),
)
def test_no_mail_of_the_corpus_loads_moves_asks_leads_or_fails_anything(
    watched, kind, names
):
    # "open" and "look": without policy and sandbox, what was made safe still loads
    # nothing, runs nothing and leads nowhere.
    wrong = {
        part[0]: found
        for part in pages(names)
        if (found := look_at(watched, kind, part))
    }
    assert wrong == {}
    assert len(NAMES) >= 80 > 12 < len(names)


def test_what_a_mail_loads_where_nothing_stops_it_is_seen_and_the_policy_alone_stops_it(
    watched,
):
    # Chromium also reports requests that the policy blocks.
    asked = []
    watched.route(
        "**/seen", lambda route: (asked.append(route.request.url), answer(route))
    )
    for kind, expect in (
        ("safe", watched.expect_request),
        ("raw", watched.expect_response),
    ):
        with expect(lambda it: it.url == f"{ORIGIN}/seen"):
            assert f"request {ORIGIN}/seen" in look_at(watched, kind, ["loud"])
        assert bool(asked) == (kind == "raw")
