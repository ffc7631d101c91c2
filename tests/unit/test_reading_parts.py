"""What the page says of a message: its parts compared, its source, its list entry, what
it states.
"""

import json
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
from simple_form.data import rows

LINK = "<a href='https://acme.example/pay'>our site</a>"
HTML = f"<p>Dear Lee,</p><p>please pay <b>EUR 1,000</b> by Friday at {LINK}.</p>"
TEXT = "Dear Lee,\n\nplease pay EUR 1,000 by Friday at [our site](https://acme.example/pay)."


def compared(**fields):
    content = Content(**fields)
    text = replace(content, html=None)
    return compare_parts(content, render_message(content), render_message(text))


# What only the HTML has in place of what both have, and what is found: how many
# differences, what is new and gone, and links.
DIFFERENT = """
1,000         100                              1  gone 1,000  new 100
acme.example  evil.example                     2
  https://evil.example/pay  https://acme.example/pay
Friday        Friday<b style='color:#fff'> hurry</b>    1    new hurry
"""


def test_amount_link_or_hidden_text_that_only_one_part_has_is_marked_and_counted():
    for both, html, *wanted in rows(DIFFERENT):
        found = compared(html=HTML.replace(both, html), markdown=TEXT)
        marked = [
            f"{one.kind} {one.text.strip()}"
            for one in found.pieces
            if one.kind in ("new", "gone")
        ]
        links = [*found.links_in_html, *found.links_in_text]
        assert [f"{found.differences}", *marked, *links] == wanted
        assert found.kind == "differ"


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


def facts(text, thread=()):
    message = render_message(Content(markdown=text.replace("¶", "\n")))
    domains = [link.domain for link in message.links if link.domain]
    return {
        kind.name: {fact.text: fact.in_thread for fact in kind.facts}
        for kind in facts_of(message.plain, domains, thread).kinds
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
STATED = (
    "Dear Lee,¶¶EUR 12,400.00 is due on 4 December. We will refund EUR 50 by 5 December."
    "¶¶See https://acme.example/a"
)
THREAD = ["Hello Lee, we agreed on 12.400 EUR, payable 2026-12-04, see acme.example."]
# By kind, whether each fact of it stands in the thread.
IN_THREAD = """{
"Sums": {"EUR 12,400.00": true, "EUR 50": false},
"Dates": {"4 December": true, "5 December": false},
"Names": {"Lee": true},
"Promises": {"We will refund EUR 50 by 5 December.": false},
"Links to": {"acme.example": true}
}"""


def test_facts_are_found_by_their_pattern():
    for text, kind, *wanted in rows(FOUND):
        # Without a thread nothing is said to be missing from it.
        assert facts(text).get(kind, {}) == dict.fromkeys(wanted), text


def test_each_fact_says_whether_it_stands_in_the_thread_however_it_is_written_there():
    assert facts(STATED, THREAD) == json.loads(IN_THREAD)
