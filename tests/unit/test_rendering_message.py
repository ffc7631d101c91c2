"""The message as a whole: what it returns, how it fails, and that it takes time in
proportion to its length.
"""

import re
from base64 import b64encode
from types import SimpleNamespace

from common.fingerprint import Content
from rendering.render import render_message
from rendering.texts import words_of
from tests.judge.letters import many

ROW = (
    '<tr><td style="padding:8px;font-size:14px;color:#333"><p>Dear customer, your <b>order</b> {0} is '
    '<a href="https://shop.example/o/{0}">on its way</a>.</p></td></tr>'
)
GIF = b"GIF89a\x01\x00\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x01\x00;"
WEBP = b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + b"\x09\0\0\x09\0\0"


def shown(html):
    return render_message(Content(html=html))


def picture(kind, content):
    return f"<img src='data:image/{kind};base64,{b64encode(content).decode()}' alt='DE89 3704'>"


def test_markdown_is_shown_as_the_recipient_gets_it_with_the_signature():
    content = Content(
        markdown="# Hello\n\nDear **Dana**,\nline  \nline\n",
        additions={"signature": "Ana\nSupport"},
    )
    message = render_message(content)
    assert ">Hello</h1>" in message.document
    assert message.document.count("<br>") == 4
    assert message.text == f"{content.markdown}\n-- \nAna\nSupport\n"
    assert message.read.endswith("Dana,\nline\nline\n\n--\nAna\nSupport")
    assert message.differences == message.blocked == ()
    # HTML that the source gave is shown instead.
    message = render_message(Content(markdown="from markdown", html="<p>from html</p>"))
    assert "from html" in message.document
    assert "from markdown" not in message.document
    assert "This message has no text." in render_message(Content()).document


def test_findings_read_across_pictures_and_the_words_in_their_place():
    for image in (picture("gif", GIF), "<img src=https://x.example/a alt='DE89 3704'>"):
        assert "transfer" in shown(f"trans{image}fer").plain
        assert "DE89 3704" in shown(image).plain


def test_picture_of_another_kind_is_named_instead_of_drawn():
    assert "<img" in shown(picture("gif", GIF)).document
    for image in (picture("webp", WEBP), picture("png", GIF)):
        document = shown(f"<p>Hi</p>{image}").document
        assert "<img" not in document
        assert "picture not shown (in its place: “DE89 3704”)" in document


def test_lone_surrogates_nulls_and_sentences_without_spaces_do_not_stop_it():
    message = shown("<p>a\ud800b\x00c</p>http://" + "a。" * 1000)
    assert not message.doubt
    assert message.document.encode("utf-8")


def test_fault_inside_shows_the_source_and_says_so():
    # A body that is no text at all stands for a fault that nobody thought of.
    message = render_message(Content(markdown="<b>x</b>", additions=None))
    assert "the desk had an error (AttributeError)" in message.doubt
    assert "&lt;b&gt;x&lt;/b&gt;" in message.document


def test_nothing_acts_even_if_the_drawing_forgets_to_escape(monkeypatch):
    careless = SimpleNamespace(escape=lambda text, **_: text)
    monkeypatch.setattr("rendering.marking.html", careless)
    document = shown(
        "<p>&lt;script>x()&lt;/script>&lt;img src=//x.example onload=x()>"
    ).document
    assert "x.example" not in document
    assert "x()" not in document


def words(text):
    return set(re.findall("word[0-9]+", text))


def test_no_word_vanishes_whatever_the_tags_around_it():
    for letter in many(60, seed=3):
        message = shown(letter)
        assert not message.doubt, letter
        passages = [one.passage for one in message.differences]
        named = words(" ".join([message.plain, *passages]))
        assert words(words_of(letter)) <= named & words(message.document), letter
