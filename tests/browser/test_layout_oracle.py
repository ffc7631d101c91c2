"""Random layouts, and the corpus: the desk reports what Chromium hides or lays out in another order."""

import random
from itertools import islice

import pytest

from tests.browser.layout_oracle import Oracle, inverted, silent
from tests.corpus import all_mails


def _each(text: str) -> list[str]:
    return [" ".join(one.split()) for one in text.split(" |")]


WORDS = "Alfa Brav Char Delt Echo Foxt Golf Hote Indi Juli Kilo Lima Mike Nove Osca Papa Queb Rome Sier Tang".split()
TAGS = "p div span b i a li h2 blockquote section small font td u s del center label fieldset legend".split()
# Styles that reorder words, that hide them, and that do neither.
ORDERS = _each("""
    float:right | float:left | float:right;clear:both | float:inline-end | float:right;width:50% | display:flex |
    display:flex;flex-direction:row-reverse | display:flex;flex-flow:column-reverse |
    display:inline-flex;flex-wrap:wrap-reverse | display:grid | display:grid;grid-auto-flow:dense column |
    display:-webkit-box;-webkit-box-direction:reverse | display:flex;direction:rtl | display:contents | order:1 |
    order:-1 | order:2 | -webkit-order:3 | -webkit-box-ordinal-group:2 | order:calc(1 + 1) | grid-row:1 |
    grid-column:2 | grid-area:1/1 | grid-row-start:2 | position:absolute | position:absolute;left:90px;top:40px |
    position:fixed;top:0 | position:sticky;top:9px | position:relative | position:relative;left:-60px |
    position:relative;top:30px | position:relative;top:1px | direction:rtl |
    direction:rtl;unicode-bidi:bidi-override | unicode-bidi:isolate | unicode-bidi:plaintext |
    transform:translate(-90px, 0) | transform:rotate(180deg) | transform:scaleX(-1) | translate:80px |
    rotate:1turn | margin-left:-80px | margin-top:-40px | margin:-30px 0 0 | margin-bottom:-25px |
    margin-right:-70px | display:inline-block | display:inline-block;width:80px | display:table-footer-group |
    display:table-cell | display:table-header-group | display:table-caption | writing-mode:vertical-rl |
    -webkit-writing-mode:vertical-lr | text-indent:-60px | text-indent:40px | vertical-align:20px | columns:2 |
    caption-side:bottom | clear:both
""")
HIDES = _each("""
    line-height:0 | line-height:0;overflow:hidden | line-height:1px;overflow:clip | font:16px/0 monospace |
    display:grid;grid-template-rows:0fr | overflow:hidden;min-height:0 | height:1cqw;overflow:hidden | height:0 |
    -webkit-line-clamp:1;display:-webkit-box;-webkit-box-orient:vertical;overflow:hidden | line-clamp:1 | width:0 |
    opacity:if(style(--x:1): 0; else: 0) | color:attr(data-x type(<color>), white) | visibility:collapse |
    color:highlighttext | color:canvas | color-scheme:dark;color:canvastext | color:color-mix(in srgb,#fff,#fff) |
    color:rgb(from white r g b) | color:light-dark(#fff,#fff) | background:#000;color:#111 |
    background:#000;color:#fff | background-color:var(--none);color:#fff |
    background:#000;background-color:var(--none);color:#fff | color:var(--p) |
    background:#000;color:#fff;background-clip:text | -webkit-text-stroke:9px #fff |
    text-decoration:line-through 30px #fff | box-shadow:inset 0 0 0 200px #000 | outline:90px solid #fff |
    text-shadow:-60px 0 9px #fff | -webkit-transform:scale(0) | white-space:nowrap;overflow:hidden;width:60px |
    max-width:30px;overflow:hidden | text-wrap:nowrap;overflow:hidden | max-height:20px;overflow:hidden |
    height:20px;overflow:hidden;padding-top:19px | padding-left:300px | overflow:hidden | contain:strict |
    container-type:size | content:url(x) | content-visibility:hidden | aspect-ratio:9/1;overflow:hidden |
    mask-image:linear-gradient(#0000,#0000) | -webkit-mask-box-image:linear-gradient(#0000,#0000) |
    clip-path:inset(99%) | shape-outside:inset(50%) | animation:gone 9999s | perspective:1px | zoom:.01 |
    font-size:calc(1px*0) | filter:url(#x) |
    position:absolute;background:#fff;width:300px;height:90px;top:0;left:0 | display:none | opacity:0 | color:#fff |
    flex:0 0 0;min-width:0;overflow:hidden | inset:auto auto 0 -9999px;position:absolute | font-size:0 |
    color:white
""")
PLAIN = _each("""
    color:#333 | background:#eee | padding:4px | margin:8px 0 | font-weight:bold | border:1px solid #777777 |
    text-align:center | line-height:1.5 | max-width:600px | border-radius:4px | text-decoration:underline |
    text-decoration:line-through | text-decoration-line:line-through | text-decoration:underline line-through red |
    text-decoration:none | font-size:18px | background:#036;color:#fff | letter-spacing:1px | width:100%
""")
# Blocks that arrange their content, and the placement of their parts.
BLOCKS = _each("""
    | | display:flex | display:flex;flex-direction:row-reverse | display:flex;flex-flow:column-reverse | display:grid |
    display:inline-flex | direction:rtl | text-align:right
""")
ITEMS = _each("""
    | order:1 | order:-1 | float:right | float:left | position:relative;left:-90px | position:relative;top:-30px |
    margin-left:-90px | grid-row:1 | display:inline-block;margin-top:-40px | unicode-bidi:isolate |
    display:inline-block;transform:translate(0, 40px) | position:absolute;left:10px
""")
SHEET = """<style>:root{--p:#fff} @property --q{syntax:'*';inherits:false;initial-value:white}
@keyframes gone{from{opacity:0}}</style>"""
# Elements without text that may cover or displace others.
EMPTY = _each("""
    <div style='position:absolute;inset:0;background:#fff'></div> |
    <hr style='position:relative;top:-40px;height:60px;background:#fff'> |
    <img alt='' style='margin-top:-60px;width:400px;height:60px;background:#fff;display:block;position:relative'> |
    <br> | <div style='height:30px'></div> | <span style='display:inline-block;width:90px'></span> |
    <br clear=all>
""")
ATTRIBUTES = "dir=rtl align=right popover hidden nowrap class=x align=left data-x=white".split()


class Drawn:
    """Return one random message; every word is unique, and few elements have a relevant style."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.words = iter(WORDS)
        self.left = dice.choice([1, 1, 1, 2, 4])
        sheet = SHEET if dice.random() < 0.5 else ""
        self.html = sheet + "".join(self.node(3) for _ in range(dice.choice([1, 2, 2, 3])))

    def text(self) -> str:
        return " ".join(islice(self.words, self.dice.choice([1, 1, 2, 3]))) + " "

    def node(self, depth: int) -> str:
        if depth == 0 or self.dice.random() < 0.25:
            return self.text()
        if self.left and self.dice.random() < 0.08:
            self.left -= 1
            return self.dice.choice(EMPTY)
        if self.left and self.dice.random() < 0.15:
            self.left -= 1
            return self.arranged()
        attributes = self.attributes()
        inside = "".join(self.node(depth - 1) for _ in range(self.dice.choice([1, 2, 2, 3])))
        tag = self.dice.choice(TAGS)
        if tag == "td":
            part = self.dice.choice(["tbody", "tbody", "tfoot", "thead"])
            row = f"<{part}><tr><td{attributes}>{inside}</td><td>{self.text()}</td></tr></{part}>"
            return f"<table>{row}<tr><td>{self.text()}</td></tr></table>"
        return f"<{tag}{attributes}>{inside}</{tag}>"

    def arranged(self) -> str:
        """Return a block whose parts are laid out by it, or by themselves, and words beside them."""
        items = "".join(
            f'<b style="{self.dice.choice(ITEMS)}">{self.text()}</b> ' for _ in range(self.dice.choice([1, 2, 3]))
        )
        return f'<div style="{self.dice.choice(BLOCKS)}">{self.text()}{items}{self.text()}</div>'

    def attributes(self) -> str:
        styles = self.dice.choices(PLAIN, k=self.dice.choice([0, 0, 1]))
        attribute = ""
        if self.left and self.dice.random() < 0.5:
            self.left -= 1
            if self.dice.random() < 0.1:
                attribute = f" {self.dice.choice(ATTRIBUTES)}"
            else:
                styles += self.dice.choices(self.dice.choice([ORDERS, HIDES]), k=self.dice.choice([1, 1, 2]))
        return f'{attribute} style="{";".join(styles)}"' if styles else attribute


@pytest.fixture(scope="module")
def oracle(chromium):
    made = Oracle(chromium)
    yield made
    made.close()


def drawn(seed, number):
    dice = random.Random(seed)
    doctype = "<!doctype html>"
    return [f"{doctype}<body style='margin:60px'>{Drawn(dice).html}" for _ in range(number)]


@pytest.mark.proves("promise 2", "security 31")
@pytest.mark.parametrize(
    ("seed", "number"), [(1, 20), *(pytest.param(seed, 100, marks=pytest.mark.slow) for seed in range(2, 10))]
)
def test_no_layout_hides_or_reorders_words_in_silence(oracle, seed, number):
    messages = drawn(seed, number)
    missed = {html: found for html in messages if (found := silent(oracle, html))}
    assert missed == {}


@pytest.mark.slow
def test_layouts_that_are_drawn_hide_and_reorder_enough_to_prove_something(oracle):
    words = [oracle.words(html) for html in drawn(1, 100)]
    assert sum(any(not word.is_read for word in one) for one in words) > 30
    assert sum(bool(inverted(one)) for one in words) > 10


@pytest.mark.proves("security 31")
@pytest.mark.parametrize("every", [12, pytest.param(1, marks=pytest.mark.slow)])
def test_corpus_hides_and_reorders_nothing_in_silence(oracle, every):
    # One navigates at once.
    mails = [mail for mail in all_mails() if mail.expected.get("part") != ["markdown"] and mail.name != "meta_refresh"]
    missed = {
        mail.name: found for mail in mails[::every] if len(mail.body) < 20_000 if (found := silent(oracle, mail.body))
    }
    assert missed == {}
