"""Chromium as the judge of hidden text: letters of styles drawn by lot; what it does not show must be announced.

A letter is opened twice, with two words of the same length. Where both look the same, nobody can read either.
"""

import random

import pytest

from common.fingerprint import Content
from rendering.render import render_message

pytestmark = pytest.mark.slow

WORDS = ("MMHMM HMMHM HHMMH", "HWXKH NWHXM WWNHX")
PAPER = "<!doctype html><body style='margin:60px 20px;font:16px monospace;color:#000'>"
TAGS = "p div span td font b a li center h1 section q blockquote small label dd mark address dialog".split()
STYLES = [
    *("color:#fff", "color:transparent", "color:#000", "color:inherit", "color:foo", "color:rgba(0,0,0,.05)"),
    *("background:#fff", "background:#000", "background:black url(x)", "background-color:white!important"),
    *("background:none", "background:linear-gradient(#000,#000)", "background:#000 foo", "background-color:inherit"),
    *("display:none", "display:inline", "display:block", "display:foo", "display:contents", "display:table-column"),
    *("visibility:hidden", "visibility:visible", "visibility:foo", "opacity:0", "opacity:.3", "opacity:inherit"),
    *("font-size:0", "font-size:1px", "font-size:foo", "font-size:max(0px, 1px)", "font:0/0 a", "font:16px a"),
    *("height:0", "max-height:0", "width:0", "block-size:0", "height:5px", "overflow:hidden", "overflow:clip"),
    *("position:absolute", "position:relative", "position:fixed", "left:-9999px", "inset:-9999px auto auto 0"),
    *("text-indent:-9999px", "text-indent:100%", "margin-left:-9999px", "margin-inline-start:-9999px", "float:right"),
    *("padding-left:9999px", "border-left:5000px solid", "white-space:nowrap", "letter-spacing:-1em"),
    *("transform:scale(0)", "transform:rotateY(90deg)", "transform:matrix(1,0,0,1,-9999,0)", "scale:1 0"),
    *("translate:-9999px", "zoom:.01", "clip-path:inset(50%)", "clip-path:circle(0)", "clip:rect(0,1px,1px,0)"),
    *("filter:opacity(0)", "filter:invert(1)", "mix-blend-mode:screen", "mask:linear-gradient(#0000,#0000)"),
    *("-webkit-text-fill-color:transparent", "-webkit-text-fill-color:#000", "contain:strict", "all:unset", "all:foo"),
    *("line-height:900px", "vertical-align:-9999px", "content-visibility:hidden", "-webkit-text-security:disc"),
]


def drawn_by(dice):
    """Return the opening and closing tags of one message."""
    before = after = ""
    for tag in dice.choices(TAGS, k=dice.choice([1, 1, 2, 2, 3])):
        style = ";".join(dice.choices(STYLES, k=dice.choice([1, 1, 2, 2, 3])))
        around = ("<table><tr>", "</table>") if tag == "td" else ("", "")
        before += f'{around[0]}<{tag}{" open" if tag == "dialog" else ""} style="{style}">'
        after = f"</{tag}>{around[1]}{after}"
    return before, after


@pytest.mark.parametrize("seed", range(2))
def test_what_chromium_does_not_show_is_announced(chromium, seed):
    dice = random.Random(seed)
    page = chromium.new_page(viewport={"width": 700, "height": 300}, java_script_enabled=False)
    page.route("**/*", lambda route: route.abort())
    unseen, missed = 0, []
    for before, after in (drawn_by(dice) for _ in range(150)):
        pictures = []
        for words in WORDS:
            page.set_content(f"{PAPER}{before}{words}{after}")
            pictures.append(page.screenshot())
        if pictures[0] == pictures[1]:
            unseen += 1
            shown = render_message(Content(html=f"{before}{WORDS[0]}{after}"))
            missed += [] if shown.hidden or shown.doubt else [before]
    page.close()
    assert missed == []
    assert unseen > 30, "styles that hide nothing prove nothing"
