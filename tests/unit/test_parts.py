"""What differs between the HTML and the text of a message, in their order, and what
people read as the same in both.
"""

import pytest

from common.fingerprint import Content
from common.parts import differences
from common.text_from_html import text_from_html
from rendering.render import sent_html
from risk.jobs import examine
from simple_form import TooComplex, simplify
from tests.corpus import HERE
from tests.linear import is_linear

A, B = "https://a.example", "https://b.example"
# HTML and text; without HTML, Markdown whose source is the text.
DIFFERENT = [
    (None, "1. Sign\n3. Pay"),
    (None, "2024. It ends in\n2027."),
    (None, "7. Sign\n7. Pay"),
    (None, "We owe 3*4*5 EUR"),
    (None, r"See C:\_data\*.csv"),
    (None, r"\\server\share"),
    (None, "Call __init__ first"),
    (None, "```94,000\nx\n```"),
    (None, "```not due\nx\n```"),
    (None, "| A | 5 EUR |\n|---|---|\n| B | 6 EUR | per month |"),
    (None, ">= 500 EUR"),
    (None, "- - 40 EUR"),
    (None, "We agree. [](https://a.example/but-not) Sign."),
    (None, "<span title='pay 94,000'>x</span>"),
    ("Pay Ana, not Ben.", "Pay Ben, not Ana."),
    ("1,500 EUR", "1.500 EUR"),
    ("Due 5/6/2026", "Due 6/5/2026"),
    ("(500) EUR", "500 EUR"),
    ("Is it due?", "It is due."),
    ("It is 5 MW", "It is 5 mW"),
    ("👍", "👎"),
    ("कल", "काल"),
    (f"<a href={A}>Pay</a>", f"[Pay]({B})"),
    (f"<a href={A}/x>Pay</a>", f"Pay ({A}/y)"),
    (f"<a href={A}>Ana</a>, <a href={B}>Ben</a>", f"Ana ({B}), Ben ({A})"),
    (
        f"<a href={A}>Ana</a>, <a href={B}>Ben</a>",
        f"Ana [1], Ben [2]\n\n[1] {B}\n[2] {A}",
    ),
    (f"Ana, <a href={A}>Ben</a>", f"Ana ({A}), Ben"),
    (f"Pay 500 EUR <a href={A}>here</a>", A),
    ("We will <s>not</s> pay", "We will not pay"),
    ("He wrote <q>we agree</q>.", "He wrote we agree."),
    ("<ol><li>Sign<li>Pay</ol>", "1. Sign\n3. Pay"),
    ("<ol type=a><li>Sign</ol>", "b. Sign"),
    ("<ol><li>a</ol>x<ol start=2><li>b</ol>", "1. a\nx\n1. b"),
    ("Ana:<blockquote>I pay.</blockquote>I do not.", "Ana:\nI pay.\n> I do not."),
    ("<table><tr><td>A<td>5<tr><td>B<td>6</table>", "A 6\nB 5"),
]
SAME = [
    (None, "1. a\n1. b\n1. c"),
    (None, "Title\n=====\n\n***bold*** and __two words__, _it_.\n\n* * *"),
    (None, "Dear <Customer Name>, `List<String>`, if a<b and c>d, 2 < 3 and 3 > 1"),
    (None, "x | y\n--|--\na<br>b | > 300 m<sup>2</sup>"),
    (None, "<div align='center'>Hello <b>Dana</b>,<br>see you.</div>"),
    (
        None,
        "[docs][1], [site] and [x][]\n\n[1]: https://a.example/1\n[site]: <http://b.example>\n[x]: http://c.example",
    ),
    (None, "1. First\n   - sub\n2. Second\n\n```python\nx = 1\n```\n\n> a\n> b"),
    (None, r"report\_final, 1\. and 5 \* 3, **-5 EUR**, A&amp;B&nbsp;C"),
    (None, "[Zürich](https://zürich.example/straße) https://a.example/x_(y)."),
    (None, "![logo](https://a.example/l.png) [![alt](cid:x)](https://a.example)"),
    (None, "[Ana](mailto:ana@b.example?subject=Hi) [call](tel:+4930123)"),
    (None, "重要な**お知らせ**です。[ここ](https://a.example/1)です"),
    (f"<h1>Big News</h1>See <a href={A}/a>this</a>.", f"BIG NEWS\n\nSee this<{A}/a>."),
    (f"<p>See <a href={A}/a>this</a>, ok", f"See this [1], ok\n\n[1] {A}/a"),
    (
        f"<p>See <a href={A}/a>this</a>, ok",
        f"See [1]this, ok\n\nReferences\n\n  1. {A}/a",
    ),
    (f"<p>Pay <a href={A}/x>Click here</a> now", f"Pay {A}/x now"),
    (f"<p>See <a href={A}/1>docs</a>", "See docs"),
    ("<b>bold</b> <i>it</i> <u>u</u> <code>c</code>", "*bold* /it/ _u_ |c|"),
    (
        "<img src=cid:x alt=Acme> Acme Ltd",
        "[image: Acme] Acme Ltd [cid:image001.png@01DC]",
    ),
    ("<img src=cid:x alt=Acme> Acme Ltd", "Acme Ltd"),
    ("<ul><li>one<ul><li>two</ul></ul>", "•\tone\n    o\ttwo"),
    ("<ol><li>one<li>two</ol>", "* one\n* two"),
    ("<table><tr><th>Item<th>Price<tr><td>Pen<td>5</table>", "Item\tPrice\nPen\t5"),
    ("He said “yes” – it’s 5&nbsp;%, Straße", 'He said "yes" - it\'s 5 %, STRASSE'),
    ("1<sup>st</sup>, 10<sup>12</sup> m, NO<sub>x</sub>", "1st, 10¹² m, NOx"),
    ("o dia,\ne o mar", "o dia, e\no mar"),
    (
        "On Mon, Ana &lt;<a href=mailto:a@b.example>a@b.example</a>&gt; wrote:<blockquote>Hi</blockquote>Ok",
        "On Mon, Ana <a@b.example> wrote:\n> Hi\n\nOk\n-- ",
    ),
]


def compared(html, markdown):
    """Return where the parts of a message differ."""
    content = Content(html=html and f"<p>{html}", markdown=markdown)
    form = simplify(sent_html(content))
    return differences(text_from_html(form.html, marked=True), markdown)


def test_parts_that_differ_in_words_numbers_links_or_order_are_named():
    assert [pair for pair in DIFFERENT if not compared(*pair)] == []


def test_parts_that_people_read_as_the_same_do_not_differ():
    assert {pair: compared(*pair) for pair in SAME if compared(*pair)} == {}


def test_both_passages_are_named_and_the_parts_agree_again_behind_them():
    text = "We pay 500 EUR to Ana and then {} to you, all of it in March, {} Ben."
    found = compared(text.format("answer", "says"), text.format("write", "not"))
    assert found == [
        (
            "to Ana and then answer to you, all of",
            "to Ana and then write to you, all of",
            False,
        ),
        ("of it in March, says Ben.", "of it in March, not Ben.", False),
    ]


def test_title_of_a_link_is_milder_than_other_words():
    text = "Pay [here](https://a.example 'before May')"
    findings = [
        [one.level for one in examine(Content(markdown=each)).findings]
        for each in (text, f"{text}\n\n3*4*5")
    ]
    assert findings == [["notice"], ["high"]]


def test_text_that_was_made_from_html_says_the_same():
    """Also where a picture has the words behind it, and where one has none."""
    wrong = []
    for path in sorted(HERE.glob("*/*.html"))[::4]:
        try:
            html = simplify(path.read_text()).html
        except TooComplex:
            continue
        if differences(text_from_html(html, marked=True), text_from_html(html)):
            wrong.append(path.name)
    assert wrong == []


@pytest.mark.slow
def test_parts_are_compared_in_linear_time():
    for html, text in (
        ("a b c ", "a c b "),
        ("<img alt='a b' src=https://a.example/x>", "a x "),
        ("x ", "[a] https://a.example/1\n[a] "),
        ("x ", "1. > - __a <a b='"),
        ("👍", "👎"),
    ):
        pairs = [
            (
                text_from_html(simplify(f"<p>{html * number}").html, marked=True),
                text * number,
            )
            for number in (500, 4_000)
        ]
        assert is_linear(lambda pair: differences(*pair), *pairs), text
