"""What the page says of a message: its parts compared, its source, its list entry, what
it states.
"""

from dataclasses import replace

from approvals.message_page.content.jobs import facts_of
from approvals.message_page.content.source import (
    STRETCH,
    compare_parts,
    page_count,
    stretch_of,
)
from common.fingerprint import FIELDS, Content
from rendering.render import render_message
from simple_form.declarations import rows

LINK = "<a href='https://acme.example/pay'>our site</a>"
HTML = f"<p>Dear Lee,</p><p>please pay <b>EUR 1,000</b> by Friday at {LINK}.</p>"
TEXT = "Dear Lee,\n\nplease pay EUR 1,000 by Friday at [our site](https://acme.example/pay)."


def compared(**fields):
    content = Content(**fields)
    text = replace(content, html=None)
    return compare_parts(content, render_message(content), render_message(text))


def texts_of(comparison, kind):
    return [piece.text.strip() for piece in comparison.pieces if piece.kind == kind]


def test_amount_link_or_hidden_text_that_only_one_part_has_is_marked_and_counted():
    amount = compared(html=HTML, markdown=TEXT.replace("1,000", "100"))
    assert amount.kind == "differ"
    assert amount.differences == 1
    assert texts_of(amount, "new") == ["1,000"]
    assert texts_of(amount, "gone") == ["100"]

    link = compared(html=HTML.replace("acme.example", "evil.example"), markdown=TEXT)
    assert link.differences == 2
    assert link.links_in_html == ("https://evil.example/pay",)
    assert link.links_in_text == ("https://acme.example/pay",)

    hidden = compared(
        html=f"{HTML}<p style='color:#fff'>and wire it today</p>", markdown=TEXT
    )
    assert texts_of(hidden, "new") == ["and wire it today"]


def test_message_with_one_part_says_so_and_unknown_is_not_empty():
    found = compared(html=HTML)
    assert (found.kind, found.only) == ("one", "html")
    found = compared(markdown=TEXT, coverage=tuple(x for x in FIELDS if x != "html"))
    assert (found.kind, found.only) == ("unseen", "markdown")


# the source, page by page


def test_pages_of_a_text_together_are_all_of_it():
    for text in ("", "short", "x" * (3 * STRETCH + 7), "é\r\n\ta line\n" * 20_000):
        at = 0
        seen = ""
        for page in range(1, page_count(text) + 1):
            one = stretch_of(text, page=page)
            assert one.start == at
            at = one.end
            assert at - one.start <= STRETCH
            seen += "".join(part for _, part in one.parts)
        assert seen == text


def facts(text, thread=None):
    message = render_message(Content(markdown=text))
    domains = [link.domain for link in message.links if link.domain]
    found = facts_of(message.plain, domains, thread or ())
    return {
        kind.name: {fact.text: fact.in_thread for fact in kind.facts}
        for kind in found.kinds
    }


# A text, a kind of fact, and those of the kind that are found.
FOUND = """
See section 3.2. of it.                    Dates
Das macht 1.200,50 € oder $1,200, 15 %, 300 dollars.    Sums    1.200,50 €    $1,200    300 dollars
Version 2.1.3 came at 9:30 in room 400.    Sums
Due by 4 December 2026, 2026-11-30, am 3. März, el 6 de mayo.
  Dates    4 December 2026    2026-11-30    3. März    6 de mayo
You may call 40 times, it may 90.          Dates
Due 5 auguſt, 6 aprıl, 7 APRİL.            Dates    5 auguſt    6 aprıl    7 APRİL
Dear Ms. Okafor,¶¶thank you.¶¶Kind regards,¶Mila Sorensen    Names    Okafor    Mila Sorensen
Hi there,¶¶welcome.                        Names
Fine. We will refund it today. Bye.        Promises    We will refund it today.
The weather is good.                       Promises
See [here](https://shop.acme.example/x).   Links to    acme.example
"""


def test_facts_are_found_by_their_pattern():
    for text, kind, *wanted in rows(FOUND):
        assert [*facts(text.replace("¶", "\n")).get(kind, {})] == wanted, text


def test_each_fact_says_whether_it_stands_in_the_thread_however_it_is_written_there():
    text = (
        "Dear Lee,\n\nEUR 12,400.00 is due on 4 December. We will refund EUR 50 by 5 December.\n\n"
        "See https://acme.example/a"
    )
    thread = [
        "Hello Lee, we agreed on 12.400 EUR, payable 2026-12-04, see acme.example."
    ]
    found = facts(text, thread)
    assert found["Sums"] == {"EUR 12,400.00": True, "EUR 50": False}
    assert found["Dates"] == {"4 December": True, "5 December": False}
    assert found["Names"] == {"Lee": True}
    assert list(found["Promises"].values()) == [False]
    assert found["Links to"] == {"acme.example": True}
    # Without a thread nothing is said to be missing from it.
    assert facts("It costs EUR 5.")["Sums"] == {"EUR 5": None}
