"""The simple form: what it keeps, what it names, and that it is its own simple form."""

from pathlib import Path

import pytest

from simple_form import simplify
from tests.corpus import all_mails

CORPUS = Path(__file__).parents[1] / "corpus"
ORDINARY = sorted((CORPUS / "ordinary").glob("*.html"))
DESIGNED = sorted((CORPUS / "designed").glob("*.html"))
# What could be done to words, and letters that could do it.
DOES = {
    "hide it": (
        "<p style='display:none'>word</p>",
        "<p hidden>word</p>",
        "<p style='color:#fff'>word</p>",
        "<p style='color:var(--x)'>word</p>",
        "<p style='font-size:0'>word</p>",
        "<style>p{visibility:hidden}</style><p>word</p>",
        "<style>@media (max-width:9em){.a .b{display:none!important}}</style><div class=a><p class=b>word</p></div>",
        "<span style='background:#000'><div style='color:#fff'>word</div></span>",
        "<body text=white>word",
        "<template>word</template>",
        "<table><tr><td background=x.png>word</td></tr></table>",
        f"<div style='background:#000;color:#fff;border-radius:90px'>{'word ' * 20}</div>",
        "<p>x</p><![if !mso]><p>word</p><![endif]>",
        "<p>x</p><!--[if !mso]> -->word<!--<![endif]-->",
        "<p>Pay EUR 100<!--[if !mso]><!-->word<!--<![endif]--></p>",
        "<p>x</p><!--[if gte mso 99]><!-- -->word<!--<![endif]-->",
        "<p>x</p><!--[if !mso]><!--><!-- endif -->word<!--<![endif]-->",
        f"{'<script></script>' * 200}<p>x</p><p style='display:none'>word</p>",
        "<p style='color:#ccc'><b style='opacity:.6'>word</b></p>",
        "<style>@media (prefers-color-scheme:dark){p{font-size:1px}}</style><p>word</p>",
    ),
    "move it": (
        "<p>a <b style='float:right'>word</b> b</p>",
        "<p style='position:absolute'>word</p>",
        "<p dir=rtl>1 + word</p>",
        "<table><tr><td>a</td></tr><caption>word</caption></table>",
    ),
    "cut it off": (
        "<p style='height:1px'>word</p>",
        "<div style='max-height:0'>word</div>",
    ),
    "add words": (
        "<style>p::before{content:'word'}</style><p>x</p>",
        "<!--[if mso]>word<![endif]-->x",
        "<!--[IF mso]>word<![ENDIF]-->x",
        "<p>words<!--[if mso]>word<![endif]--></p>",
        "<!--[if mso]><a href=https://word.example><img></a><![endif]-->x",
    ),
    "draw other letters": (
        "<p style='font-family:Wingdings'>word</p>",
        "<style>@font-face{src:url(x)}</style>word",
    ),
    "cover other words": ("<p>word</p><b style='box-shadow:0 0 0 40px #fff'></b>",),
    "change it": (
        "<link rel=stylesheet href=https://a.example/x.css>word",
        "<p style='unheard-of:1'>word</p>",
        "<link href='https://fonts.googleapis.com/css?family=Flow+Block' rel=stylesheet>word",
        "<p style='mso-margin-top-alt:-90px'>word</p>",
    ),
}
HARMLESS = (
    "<p style='line-height:1.5;letter-spacing:.2px;font-family:Arial;border:1px solid #ccc;padding:8px'>word</p>",
    "<style>@media (max-width:600px){.a{width:100%!important;font-size:16px}}</style><p class=a>word</p>",
    "<style>.i th{background:#222;color:#fff}</style><table class=i><tr><th>word</th></tr></table>",
    "<p>Total <b style='float:right'>9</b></p>",
    "<p style='mso-list:l0 level1;text-indent:-18pt;margin-left:36pt'>word</p>",
    "<style>a:hover{color:#fff}@media print{p{display:none}}</style><p>word</p>",
    "<style>a:link{color:#fff}</style><a>word</a>",
    "<a href='https://a.example' style='color:#fff;background:#036;border-radius:9px;display:inline-block'>word</a>",
    "<link href='https://fonts.googleapis.com/css?family=Lato:400|Open+Sans' rel=stylesheet>word",
    "<p style='font-family:Arial,sans-serif,\"Segoe UI Symbol\";mso-list:l0 level1;mso-margin-top-alt:auto'>word</p>",
)


def found_in(html):
    return [one for one in simplify(html).changes if one.does]


def test_whatever_could_do_something_to_words_is_named_with_the_words():
    for does, letters in DOES.items():
        for html in letters:
            found = found_in(html)
            assert does in [one.does for one in found], html
            words = simplify(html).html + str([one.passage for one in found])
            assert "word" in words, html
    for html in HARMLESS:
        assert found_in(html) == [], html
    # First words that only lists show are a preheader.
    hidden = "<div style='display:none'>Three lamps, 40 EUR</div>"
    (one,) = found_in(f"{hidden}<p>Dear Jane</p>")
    assert one.is_preheader is True
    assert not found_in(f"<p>Dear Jane</p>{hidden}")[0].is_preheader


@pytest.mark.slow
def test_ordinary_letters_are_hardly_ever_marked_and_designed_ones_with_reason():
    marked = [
        path.name
        for path in ORDINARY
        if any(not one.is_preheader for one in found_in(path.read_text()))
    ]
    assert len(ORDINARY) == 150
    assert len(DESIGNED) == 50
    assert len(marked) <= 3, marked
    for path in DESIGNED:
        for one in found_in(path.read_text()):
            assert 10 < len(one.sentence()) < 600, path.name


@pytest.mark.slow
def test_simple_form_is_its_own_simple_form():
    letters = [path.read_text() for path in (*ORDINARY[:15], *DESIGNED[:8])]
    letters += [mail.body for mail in all_mails() if "doubt" not in mail.expected]
    for html in letters:
        simple = simplify(html).html
        again = simplify(simple)
        assert again.html == simple, html[:200]
        assert not again.changes, html[:200]


def test_numbers_of_lists_stay_as_printed():
    numbers = {
        "<ol reversed><li>a<li>b</ol>": '<ol><li value="2">a</li><li value="1">b</li></ol>',
        "<ol start=5><li>a<li>b</ol>": '<ol><li value="5">a</li><li>b</li></ol>',
        "<ol><li value=3>a<li>b</ol>": '<ol><li value="3">a</li><li>b</li></ol>',
        "<ol type=a><li>a</ol>": '<ol style="list-style-type:lower-alpha;"><li>a</li></ol>',
    }
    assert {html: simplify(html).html for html in numbers} == numbers


def test_colours_are_kept_with_the_background_on_which_they_can_be_read():
    colours = {
        "<p style='color:#333'>x</p>": '<p style="color:#333333;background-color:#ffffff;">x</p>',
        "<p style='color:#eee'>x</p>": "<p>x</p>",
        "<p style='background:#222'>x</p>": (
            '<p style="color:#ffffff;background-color:#222222;">'
            '<span style="color:#ffffff;background-color:#222222;">x</span></p>'
        ),
    }
    assert {html: simplify(html).html for html in colours} == colours


def test_direction_of_a_page_and_of_words_is_kept():
    directions = {
        "<body dir=rtl><p>Shop</p><p>\u05d0\u05d1 12</p>": '<div dir="rtl"><p>Shop</p><p>\u05d0\u05d1 12</p></div>',
        "<p dir=auto>\u05d0\u05d1 <bdi>\u05d2</bdi> 12</p>": (
            '<p dir="auto">\u05d0\u05d1 <span dir="auto">\u05d2</span> 12</p>'
        ),
        "<p dir=auto>word 12</p>": "<p>word 12</p>",
    }
    assert {html: simplify(html).html for html in directions} == directions
    assert found_in("<body dir=rtl>word \u05d0\u05d1 word")
