"""The message as a whole: what it returns, how it fails, and that it takes time in
proportion to its length.
"""

import random
from base64 import b64encode

import pytest

from common.fingerprint import Content
from rendering.render import render_message
from tests.linear import seconds

ROW = (
    '<tr><td style="padding:8px;font-size:14px;color:#333"><p>Dear customer, your <b>order</b> {0} is '
    '<a href="https://shop.example/o/{0}">on its way</a>.</p></td></tr>'
)
MOVED = "<p style='animation:a a'>"
GIF = b"GIF89a\x01\x00\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x01\x00;"


def test_single_line_breaks_are_kept_as_in_the_text_part():
    text = "Kind regards,\nAna\n\nCall me  \nor write"
    shown = render_message(
        Content(markdown=text, additions={"signature": "Acme\nSupport"})
    )
    assert (
        "Kind regards,\nAna\n\nCall me\nor write\n\n--\nAcme\nSupport"
        in shown.read.replace(" \n", "\n")
    )
    assert shown.document.count("<br>") == 4


def test_markdown_is_shown_as_the_recipient_gets_it_with_the_signature():
    content = Content(
        markdown="# Hello\n\nDear **Dana**,\n", additions={"signature": "Ana\nSupport"}
    )
    shown = render_message(content)
    assert ">Hello</h1>" in shown.document
    assert "<strong>Dana</strong>" in shown.document
    assert shown.text == "# Hello\n\nDear **Dana**,\n\n-- \nAna\nSupport\n"
    assert shown.differences == shown.blocked == ()
    assert shown.doubt == ""
    # HTML that the source gave is shown instead.
    shown = render_message(Content(markdown="from markdown", html="<p>from html</p>"))
    assert "from html" in shown.document
    assert "from markdown" not in shown.document
    assert "This message has no text." in render_message(Content()).document


def test_findings_read_across_pictures_and_the_words_in_their_place():
    picture = "https://x.example/a.png"
    for source in (f"data:image/gif;base64,{b64encode(GIF).decode()}", picture):
        shown = render_message(Content(html=f"trans<img src='{source}'>fer"))
        assert "transfer" in shown.plain, source
        shown = render_message(Content(html=f"x<img src='{source}' alt='DE89 3704'>"))
        assert "DE89 3704" in shown.plain, source


def test_lone_surrogates_and_nulls_do_not_stop_it():
    shown = render_message(Content(html="<p>a\ud800b\x00c</p>"))
    assert not shown.doubt
    assert shown.document.encode("utf-8")


def test_a_thousand_sentences_without_spaces_after_an_address_do_not_stop_it():
    assert not render_message(Content(markdown="http://" + "a。" * 1000)).doubt


def test_picture_of_another_kind_is_named_instead_of_drawn():
    webp = b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + b"\x09\0\0\x09\0\0"
    data = f"data:image/webp;base64,{b64encode(webp).decode()}"
    shown = render_message(Content(html=f"<p>Hi</p><img src='{data}' alt='Logo'>"))
    assert "<img" not in shown.document
    assert "picture not shown (in its place: “Logo”)" in shown.document


def test_fault_inside_shows_the_source_and_says_so():
    # A body that is no text at all stands for a fault that nobody thought of.
    shown = render_message(Content(markdown="<b>x</b>", additions=None))
    assert "the desk had an error (AttributeError)" in shown.doubt
    assert "&lt;b&gt;x&lt;/b&gt;" in shown.document
    assert "Shown as its source" in shown.document


TAGS = (
    "p div b i a span table tr td th tbody ul li dl dd h1 h2 font center pre blockquote form select option svg "
    "math text button details summary noscript object x-y caption label em section nobr marquee"
).split()


def random_html(dice):
    """Return HTML of random tags, opened and closed anywhere, and the words between
    them.
    """
    source = ""
    words = []
    for number in range(dice.randint(5, 60)):
        tag = dice.choice(TAGS)
        looks = dice.choice(["", " style=color:#fff", " hidden", " class=x"])
        if dice.random() < 0.4:
            source += f"</{tag}>"
        else:
            source += f"<{tag}{looks}>"
        words.append(f"word{number}x")
        source += f" {words[-1]} "
    return source, words


def test_no_word_vanishes_whatever_the_tags_around_it():
    for seed in range(60):
        source, words = random_html(random.Random(seed))
        shown = render_message(Content(html=source))
        assert not shown.doubt, source
        named = shown.plain + " ".join(one.passage for one in shown.differences)
        assert [
            word for word in words if word not in shown.document or word not in named
        ] == [], source


def hostile(k):
    """Return texts of about so many thousand characters that could take long to make
    harmless.
    """
    many = (
        ("<div>", 200),
        ("<table><tr><td>", 70),
        ("<b>", 330),
        ("<!--[if mso]>x<![endif]-->", 15),
        ("&", 1000),
        ("a\u200b", 500),
        ("<a href='", 72),
        ("<!--", 72),
        ("<a href=http://x.y title=x.y>a.b</a>", 25),
        ("<a href=//x.y>.</a>谢", 25),
        ("<div><p style='color:#123'>x", 16),
    )
    inside = (
        ("<p style='display:none'>", "x\u200b", 400),
        ("<div style='display:none'>x" * 40, "<p>x", 15),
        ("<a ", "a ", 500),
        ("<style>", "/*", 500),
        ("<style>", "a;{}", 240),
        ("<style>a{b:", "url(", 48),
        ("<p style='transform:", "u", 980),
        ("<style>a{b:", "(", 150),
        ("<p>x</p>" * 9 * k + "<style>", "*{color:red}", 2),
        ("<div><p>x" * 16 * k + "<style>", "div p{color:#fff}", 5),
        (MOVED * 20 * k + "<style>@keyframes a{", "to{left:1px}", 36),
        ("<img srcset='", "http://a,", 108),
        ("<table>", "<i></i>", 20),
        ("<a href=http://x.y>", "a.", 500),
    )
    return [
        *(text * number * k for text, number in many),
        *(start + text * number * k for start, text, number in inside),
        "".join(f"<b class=c{n}>" for n in range(90)) + "<p>x" * 10 * k,
        "<style>" + "".join(f".c{n}{{padding:{n}px}}" for n in range(30 * k)),
    ]


def show(source):
    render_message(Content(html=source))


@pytest.mark.slow
@pytest.mark.parametrize("k", [40, 250])
def test_hostile_message_takes_no_longer_than_its_length_allows(k):
    newsletter = (
        "<table width=600>" + "".join(ROW.format(i) for i in range(k // 2)) + "</table>"
    )
    normal = min(seconds(show, newsletter) for _ in range(3))
    # The texts are 12.5 times as long as this newsletter; a quadratic step would take
    # hundreds of times as long. The quickest of three counts.
    for text in hostile(k):
        quickest = (seconds(show, text) for _ in range(3))
        assert any(took <= 40 * normal for took in quickest), text[:90]
