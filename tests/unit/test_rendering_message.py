"""The message as a whole: what it returns, how it fails, and that it takes time in
proportion to its length.
"""

import re
from base64 import b64encode
from types import SimpleNamespace

import pytest

from common.fingerprint import Content
from rendering.render import render_message
from rendering.texts import words_of
from simple_form.data import rows
from tests.judge.letters import many
from tests.linear import seconds

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


# Texts that could take long to make harmless: how often a part is repeated for each
# thousand characters, what is before it, and the part.
HOSTILE = list(
    rows("""
200   -  <div>
70    -  <table><tr><td>
330   -  <b>
15    -  <!--[if mso]>x<![endif]-->
1000  -  &
500   -  a\u200b
72    -  <a href='
72    -  <!--
25    -  <a href=http://x.y title=x.y>a.b</a>
25    -  <a href=//x.y>.</a>谢
16    -  <div><p style='color:#123'>x
400   <p style='display:none'>  x\u200b
15    <div style='display:none'>x<div style='display:none'>x<div style='display:none'>x  <p>x
125   <a a  =a a
500   <style>  /*
240   <style>  a;{}
48    <style>a{b:  url(
980   <p style='transform:  u
150   <style>a{b:  (
108   <img srcset='  http://a,
20    <table>  <i></i>
500   <a href=http://x.y>  a.
16    <style>*{color:red}div p{color:#fff}</style>  <div><p>x
""")
)


@pytest.mark.slow
def test_hostile_message_takes_no_longer_than_its_length_allows():
    k = 250
    newsletter = (
        "<table width=600>" + "".join(ROW.format(i) for i in range(k // 2)) + "</table>"
    )
    normal = min(seconds(shown, newsletter) for _ in range(3))
    # The texts are 12.5 times as long as this newsletter; a quadratic step would take
    # hundreds of times as long. The quickest of three counts.
    rules = "".join(f".c{number}{{padding:{number}px}}" for number in range(30 * k))
    texts = [start + part * int(number) * k for number, start, part in HOSTILE]
    for text in (*texts, f"<style>{rules}</style>" + "<p class=c9>x" * 9 * k):
        quickest = (seconds(shown, text) for _ in range(3))
        assert any(took <= 40 * normal for took in quickest), text[:90]
