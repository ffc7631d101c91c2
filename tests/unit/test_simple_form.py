"""The simple form: what is written, what is removed and named, and when an original
counts as the same. `tests/judge` has it drawn by a browser.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from common.fingerprint import Content
from common.text_from_html import text_from_html
from risk.jobs import examine
from simple_form import TooComplex, simplify
from simple_form.data import rows
from simple_form.result import HIDING, LOOK, SHOWN
from simple_form.simplify import WRAPS

CORPUS = Path(__file__).parents[1] / "corpus"


OLDER = sorted((CORPUS / "ordinary").glob("*.html"))


DESIGNED = [
    *sorted((CORPUS / "designed").glob("*.html")),
    *sorted((CORPUS / "honest").glob("*_designed_*.html")),
]


CORPUS = Path(__file__).parents[1] / "corpus"
# 100 of people and of help desks, 100 of services, and designed ones.
HONEST = sorted((CORPUS / "honest").glob("[0-2]??_*.html"))[:200]


# What becomes of "word" in an original; "different" where its recipient may see it
# otherwise, and "same" where every program shows the same.
ORIGINALS = list(
    rows("""
hidden     <p>x <b style='display:none'>word</b></p>
hidden     <p>x</p><p hidden>word</p>
hidden     <p>x</p><p style='visibility:hidden'>word <i style='font-size:20px'>word</i></p>
hidden     <p>x</p><p style='font:0/0 a'>word</p>
hidden     <p>x</p><div style='max-height:0;overflow:hidden'>word</div>
hidden     <p>x</p><div style='position:absolute;left:-9999px'>word</div>
hidden     <p>x</p><p style='d\\69splay:/**/none!important;display:block'>word</p>
shown      <p style='color:#fff'>word</p>
shown      <font color=white>word</font>
shown      <style>.a{color:#fff}</style><p class=a>word</p>
shown      <style>.b{color:#fff}.a{color:#000}</style><p class='b a' style='background:#000'>word</p>
shown      <p>x</p><style>.a{display:none}</style><p class=a>word</p>
shown      <style>a:link{background:#000}</style><a style='color:#fff'>word</a>
preheader  <div style='display:none'>word</div><p>x</p>
preheader  <style>.a{display:none}</style><div class=a>word</div><p>x</p>
preheader  <div style='font-size:1px;color:#fff'>word</div><p>x</p>
left_out   x<template>word</template>
left_out   x<!--[if mso]>word<![endif]-->
left_out   x<input value=word>
left_out   x<iframe>word</iframe>
left_out   x<!-- word
left_out   <map><area href=https://word.example></map>
look       <p>a <b style='float:right'>word</b></p>
look       <style>p > b{display:none}</style><p><b>word</b></p>
look       <style>@media (max-width:9em){p{display:none}}</style><p>word</p>
look       <style>.A{color:#fff}</style><p class=a>word</p>
look       <style>title{display:block}</style><title>word</title>
look       <div bgcolor=black>word</div>
look       <p style='line-height:.5;font-size:40px'>word word</p>
look       <table width='400%'><tr><td>word</table>
look       <ruby>word<rt>not</rt></ruby>
look       <p style='font-family:Wingdings'>word</p>
look       <svg><text>word</text></svg>
look       <table><tr><td dir=rtl>10 > 20</table>
look       <p style='opacity:.5\u212a'>word</p>
look       <p>1\u202e2</p>
look       <img src='data:image/svg+xml,x' alt=word>
look       <LIN\u212a>word
look       <q>word</q>
look       <p>a<br><a href=https://a.example style='background:#fff;padding:16px'>word</a>
look       <ul style='background:#000;color:#fff;display:inline'><li>word</ul>
look       <span style='color:#fff;background:#036'><div>word</div></span>
look       <p>a <b style='float:left'>word</b>
left_out   a<![CDATA[word]]>
look       <table style='display:flex;flex-direction:column;align-items:center;width:40px'><tr><td>word</table>
look       <font color=white><p>word</font>word
same       <p style='line-height:1.5;letter-spacing:.2px;font-family:Arial;border:1px solid #ccc;padding:8px'>word</p>
same       <style>a:hover{color:#fff}.i{background:#222;color:#fff}</style><p class=i>word</p>
same       <p style='text-indent:-18pt;margin-left:36pt'><span style='font-family:Symbol'>·</span>word</p>
same       <a href='https://a.example' style='color:#fff;background:#036;display:inline-block'>word</a>
same       <div style='display:flex;gap:8px'><span>word</span><span>9</span></div>
same       <div dir=rtl>\u05d0\u05d1 word</div>
same       <table border=1 cellpadding=4><tr><th bgcolor=#ddd>word<td align=right>9</table>
same       <blockquote type=cite>word</blockquote><ul><li>a<li>b</ul><mark>word</mark>
""")
)
ORIGINALS.append((LOOK, f"<pre>a{' ' * 200}word</pre>"))
ORIGINALS.append((LOOK, f"a{'<br>' * 80}word"))


def test_words_that_a_recipient_sees_differently_are_told_from_what_is_the_same():
    for code, html in ORIGINALS:
        form = simplify(html)
        codes = {one.code for one in form.changes} or {"same"}
        passages = [one.passage for one in form.changes if one.code == code]
        assert code in codes, html
        if code not in (LOOK, "same"):
            assert "word" in " ".join(passages), html
            assert (">word" in form.html) == (code == SHOWN), html


# Whether an original is exact, and how many addresses it loads from.
EXACT = list(
    rows("""
yes  0  <p>Hello <b>Ana</b>,<br>see <a href='https://a.example'>this</a>.</p><!-- a --><hr>
yes  0  <html lang=de><head><title>a</title></head><body><p lang=fr class=a>Salut</p></body></html>
yes  0  <ul><li>a<li>b</ul><ol start=4 type=A><li>c</ol><blockquote>d</blockquote><pre>e f</pre>
yes  0  <table><tr><th>a<td rowspan=2 bgcolor=#eeeeee>b<tr><td align=right>c</table>
yes  0  <div style='color:#333;font-family:Arial,sans-serif;margin:0 0 1em'>a<p style='font-size:14px'>b</p></div>
yes  0  <p dir=rtl>\u05d0\u05d1 word</p><img src=https://a.example/1.png alt=a>
no   0  <p>a<br><span style='border-top:20px solid #fff'>b</span>
no   0  <div style='opacity:.8'><p style='opacity:.8'>a</p></div>
no   0  <s style='text-decoration-color:transparent'>never</s>
no   0  <ol style='text-indent:-9px'><li>a</ol>
no   0  <body bgcolor=#ffffff link=#fefefe><a href='https://a.example'>a</a>
no   0  <p style='color:red;color:light-dark(red,white)'>a</p>
no   0  <style>p{color:#333}</style><p>a</p>
no   0  <p style='margin-top:-12px'>a</p><center>b</center>
no   0  <p style='background-color:rgba(0,0,0,.1)'>a</p>
no   0  a<wbr>b<img src=cid:1 width=600 height=200>
no   1  <ul style='list-style-image:url(https://a.example/1.png)'><li>a</ul>
no   1  <p style='border-image:u\\72l(//a.example/1) 3 fill'>a</p>
no   2  <style>@import "https://a.example/1";a{background:image-set("https://b.example/2" 1x)}</style>a
no   3  <video poster=https://a.example/1><source src=//b.example/2></video><img srcset='https://c.example/3 2x'>
no   1  <table background=https://a.example/1><tr><td>a</table>
""")
)


def test_only_what_is_written_as_it_is_is_exact_and_all_that_loads_is_counted():
    for exact, loads, html in EXACT:
        form = simplify(html)
        assert form.is_exact == (exact == "yes"), html
        assert len(form.loads) == int(loads), html


# What is written, and for what.
WRITTEN = list(
    rows("""
<p style="background-color:#ffffff;color:#333333;">x</p>  <p style='color:#333;position:fixed'>x
<p>x</p>  <p style='color:#eee'>x
<p style="background-color:#222222;color:#ffffff;">x</p>  <p style='background:#222'>x
<p style="font-size:48px;line-height:1.1;">x</p>  <p style='font-size:1in;line-height:9px'>x
<ul style="list-style-position:outside;list-style-type:disc;padding-left:40px;"><li>a</li></ul>  <ol reversed><li>a</ol>
<ol style="list-style-position:outside;padding-left:40px;"><li value="5">a</li><li value="6">b</li></ol>
  <ol start=5><li>a<li>b</ol>
<ol style="list-style-position:outside;list-style-type:upper-alpha;padding-left:40px;"><li value="1">a</li></ol>
  <ol type=A start=30><li>a</ol>
<ol style="list-style-position:outside;list-style-type:decimal;padding-left:40px;"><li value="1">a</li></ol>
  <ul style='list-style:decimal'><li>a
<ul style="list-style-position:outside;padding-left:40px;"><li style="list-style-type:none;">a</li></ul>
  <ul><li style='display:block'>a</ul>
<span style="text-decoration:none;">x</span>  <s style='text-decoration:none'>x</s>
<span style="background-color:#ffffff;color:#0000ee;">x</span><a href="HTTPS://a.example">y</a>
  <a href='javascript:x'>x</a><a href=' HTTPS://a.example'>y</a>
<table><tbody><tr><td colspan="2">x</td></tr></tbody></table>  <table><td colspan=2 rowspan=2>x
☑x  <input type=checkbox checked>x
<img src="cid:1" width="800" style="max-width:800px;width:100%;">  <img src=cid:1 width=900>
<img src="cid:1" width="170" height="90" style="height:auto;max-width:170px;width:100%;">
  <img src=cid:1 width=170 height=90 style='max-width:800px'>
<table><tbody><tr><td style="padding-left:12px;">a</td><td>b</td><td></td></tr></tbody></table>
  <table><tr><td style='padding-left:40px'>a<td>b<td></table>
&lt;<span style="overflow-wrap:anywhere;">https://a.example/?b=0123456789&amp;c</span>&gt;
  &lt;https://a.example/?b=0123456789&amp;c&gt;
<img src="cid:1" width="90" height="9" style="height:auto;max-width:100%;">
  <img src=cid:1 width=90 height=9 style=height:auto>
<span style="background-color:#003366;color:#ffffff;"><p style="background-color:#003366;color:#ffffff;">x</p></span>
  <span style='color:#fff;background:#036'><p>x</span>
<p dir="rtl" lang="he">\u05d0<span dir="ltr">-5</span></p>  <p dir=rtl lang=he>\u05d0<span dir=ltr>-5</span>
<p dir="auto">5 &gt; 3 a</p>  <p dir=rtl lang='x"y'>5 &gt; 3 a
<p style="background-color:#000000;color:#ffffff;">x</p>  <p style='background:var(--a);color:#fff'>x
""")
)


def test_values_are_written_anew_within_limits():
    for written, html in WRITTEN:
        assert simplify(html).html == f'<div style="{WRAPS}">{written}</div>', html
    # Each change of an element is paired with what is behind it.
    page = "<body bgcolor=#000 text=#fff><table><tr><td>x"
    assert "color:#ffffff" in simplify(page).html


def test_simple_form_is_its_own_simple_form():
    letters = [html for _, html in (*WRITTEN, *ORIGINALS)]
    for html in (*letters, *(path.read_text() for path in HONEST[::10])):
        simple = simplify(html).html
        again = simplify(simple)
        assert (again.html, again.changes) == (simple, ()), html[:200]
        assert again.is_exact, html[:200]


def test_letters_built_to_cost_time_or_room_are_refused_or_bounded():
    refused = (
        "<b>" * 25_000,
        "<div>" * 300,
        "<p" + " x=1" * 200 + ">",
        f"<p style='{'margin:0;' * 60_000}'>",
        "<table>" + "<b>x" * 2_000,
    )
    for html in refused:
        with pytest.raises(TooComplex):
            simplify(html)
    rules = "".join(f".a{{margin:{n % 9}px}}" for n in range(1_900))
    form = simplify(f"<style>{rules}</style>{'<p class=a>x</p>' * 9_000}")
    assert len(form.html) < 2_000_000
    assert "{" * 50 not in simplify(f"<style>{'a{' * 100_000}</style>x").html


def test_text_is_that_of_the_written_form():
    form = simplify(
        "<p>Pay <b hidden>not</b> 5</p><ul><li><p>a</p><li>b</ul>"
        "<table><tr><td>1<td>2</table><ol start=4><li>x</ol>"
        "<a href='https://y.example'>y</a> 10<sup>2</sup> <del>9</del> <img alt='5 > 4'>"
        "<span style='display:block'>Due 40</span><span style='float:left'>50</span>z"
        "<div style='float:left;display:flex'><span>Room 1</span><span>2 nights</span></div>"
        "<blockquote>We <blockquote>agree</blockquote>to pay</blockquote>No, "
        "<span style='text-decoration:line-through'>8</span><pre>a  b\n c</pre>"
    )
    lines = (
        "Pay 5|- a|- b|1 2|4. x|y (https://y.example) 10^2 ~~9~~ [5 > 4]|Due 40|50 z|Room 1 2 nights"
        "|> We|> > agree|> to pay|No, ~~8~~|a  b| c"
    )
    assert text_from_html(form.html).split("\n\n") == lines.split("|")


def test_a_text_that_was_made_from_the_html_is_not_said_to_differ():
    html = simplify("<p>Ann &lt;a@b.example&gt; wrote:<p>1. Pay <img alt=Logo>").html
    content = Content(html=html, markdown=text_from_html(html))
    assert not examine(content).findings
    changed = replace(content, markdown=content.markdown.replace("Pay", "Do not pay"))
    assert "parts_differ" in {one.rule for one in examine(changed).findings}


# What a list, a quotation, a power or a reading aid is in text.
AS_TEXT = {
    "<ol type=a><li>x<li>y<ol type=I><li>z</ol></ol>": "a. x|b. y|   I. z",
    "<ul><li>x<ul><li>y</ul><li><p>z</p></ul>": "- x|   - y|- z",
    "<ol><li style='list-style-type:none'>x<li>y</ol>": "- x|2. y",
    "He <q>agrees</q> to 10<sup>2</sup>3 x<sup>n+1</sup>": "He “agrees” to 10^2 3 x^(n+1)",
    "<ruby>漢<rt>kan</rt></ruby>": "漢(kan)",
    "<ruby>字<rp>[</rp><rt>ji</rt><rp>]</rp></ruby>": "字[ji]",
}


def test_text_keeps_what_lists_quotation_marks_powers_and_ruby_say():
    for html, lines in AS_TEXT.items():
        assert text_from_html(simplify(html).html) == lines.replace("|", "\n\n"), html


@pytest.mark.slow
def test_honest_letters_are_hardly_ever_marked():
    forms = [simplify(path.read_text()) for path in (*HONEST, *OLDER)]
    assert len(forms) == 350
    marked = [form for form in forms if HIDING & {one.code for one in form.changes}]
    assert len(marked) <= 2
    assert sum(bool(form.changes) for form in forms[:100]) <= 20
    assert sum(form.is_exact for form in forms[-150:]) >= 28
    assert len(DESIGNED) >= 60
    # Whatever a look loses is told.
    assert all(simplify(path.read_text()).changes for path in DESIGNED)
