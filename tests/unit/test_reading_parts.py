"""What the page says of a message: its parts compared, its source, its list entry, what
it states, and its button.
"""

from dataclasses import replace

from approvals.message_page.content.source import (
    STRETCH,
    compare_parts,
    page_count,
    source_of,
    stretch_of,
)
from approvals.message_page.content.stated_facts import MOST, READ, facts_of
from approvals.message_page.sheet import PREVIEW, approve_label, inbox_of
from approvals.message_page.side_panel import discord_address, stated_reason
from common.fingerprint import FIELDS, Content
from mirror.models import Message
from mirror.store import content_of
from policy.rules.demand import Approval, Demand, Requirement
from policy.rules.rules import ANY_REVIEWER, Effects
from rendering.render import render_message
from tests.factories import pending_row
from tests.linear import is_linear, seconds

LINK = "<a href='https://acme.example/pay'>our site</a>"
HTML = f"<p>Dear Lee,</p><p>please pay <b>EUR 1,000</b> by Friday at {LINK}.</p>"
TEXT = "Dear Lee,\n\nplease pay EUR 1,000 by Friday at [our site](https://acme.example/pay)."


def compare(content):
    return compare_parts(
        content, render_message(content), render_message(replace(content, html=None))
    )


def compared(**fields):
    content = Content(**fields)
    return compare(content)


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
        html=f"{HTML}<p style='display:none'>and wire it today</p>", markdown=TEXT
    )
    assert texts_of(hidden, "new") == ["and wire it today"]


def test_parts_that_only_break_their_lines_elsewhere_say_the_same():
    for text in (
        TEXT,
        TEXT.replace(" by ", "\nby "),
        f"{TEXT}\n\n\n",
        TEXT.replace("\n\n", "\n\n\n\n"),
    ):
        assert compared(html=HTML, markdown=text).kind == "same", text


def test_message_with_one_part_says_so_and_unknown_is_not_empty():
    for part, text, other in (("html", HTML, "markdown"), ("markdown", TEXT, "html")):
        found = compared(**{part: text})
        assert found.kind == "one"
        assert found.only == part
        found = compared(
            **{part: text, "coverage": tuple(one for one in FIELDS if one != other)}
        )
        assert found.kind == "unseen"
        assert found.only == part


def test_parts_without_anything_in_common_stand_side_by_side():
    one, other = (
        " ".join(f"{word}{n}" for n in range(2000)) for word in ("one", "other")
    )
    found = compared(html=f"<p>{one}</p>", markdown=other)
    assert [side.label for side in found.sides] == ["HTML", "Text"]
    assert "one1999" in found.sides[0].parts[0][1]


def test_comparison_leaves_no_differing_word_out_unsaid():
    tail = " ".join(f"word{n}" for n in range(9000))
    found = compared(html=f"<p>Hello {tail}</p>", markdown="Hello")
    shown = sum(len(piece.text) for piece in found.pieces if piece.kind == "new")
    # But for the blank at which it is cut.
    assert 0 < found.left_out <= len(tail) - shown <= found.left_out + 1


def test_comparing_very_many_differences_costs_time_by_their_number():
    def differing(number):
        text = "\n\n".join(f"Pay {n} to {n * 2}" for n in range(number // 4))
        return Content(
            html="".join(f"<p>Pay {n} to {n}</p>" for n in range(number)), markdown=text
        )

    assert is_linear(compare, differing(100), differing(800))
    # A megabyte is shown as its source, and costs less.
    assert seconds(compare, differing(40_000)) <= 24 * seconds(compare, differing(800))


# the source, page by page


def test_pages_of_a_text_together_are_all_of_it():
    long = [
        "x" * (3 * STRETCH + 7),
        "a line of text\n" * 20_000,
        "\u200b" * 70_000,
        "é\r\n\t" * 40_000,
    ]
    for text in ("", "short", *long):
        stretches = [
            stretch_of(text, page=page) for page in range(1, page_count(text) + 1)
        ]
        assert [one.start for one in stretches[1:]] == [
            one.end for one in stretches[:-1]
        ]
        assert stretches[0].start == 0
        assert stretches[-1].end == len(text)
        assert all(
            one.end - one.start <= STRETCH and one.pages == len(stretches)
            for one in stretches
        )
        seen = "".join(
            part for one in stretches for is_mark, part in one.parts if not is_mark
        )
        assert seen == ("" if "\u200b" in text else text)


def test_source_names_every_invisible_character_also_at_the_start_of_a_page():
    (only,) = source_of(Content(markdown="\ufeffpay\u202e 100\u200b"), page=1)
    marks = [part for is_mark, part in only.parts if is_mark]
    assert marks == [
        "ZERO WIDTH NO-BREAK SPACE",
        "RIGHT-TO-LEFT OVERRIDE",
        "ZERO WIDTH SPACE",
    ]
    # Very many of them are counted.
    assert stretch_of("a\u200b" * 5000, page=1).unmarked == 3000


def test_source_has_both_parts_and_the_pages_of_the_longer():
    content = Content(html="x" * (STRETCH + 1), markdown="short")
    listed = [(one.label, one.page, one.pages) for one in source_of(content, page=1)]
    assert listed == [("HTML", 1, 2), ("Markdown", 1, 1)]
    assert [one.label for one in source_of(content, page=2)] == ["HTML"]
    # A page that does not exist is the last.
    assert [one.label for one in source_of(content, page=99)] == ["HTML"]
    assert stretch_of("a" * (STRETCH + 1), page=99).page == 2


# as it arrives


def test_inbox_preview_shows_the_first_words_including_hidden_ones():
    html = "<div style='display:none'>Your account is closed</div><p>Hello Lee, here is the newsletter.</p>"
    content = Content(sender="a@yourteam.example", sender_name="Team", html=html)
    found = inbox_of(content, render_message(content))
    assert found["preview"].startswith("Your account is closed Hello Lee")
    assert found["is_hidden"]
    plain = replace(content, html="<p>Hello Lee</p>")
    assert not inbox_of(plain, render_message(plain))["is_hidden"]


def test_inbox_preview_is_cut_like_a_list_and_mentions_colours():
    content = Content(html=f"<p style='color:#c00'>{'word ' * 60}</p>")
    found = inbox_of(content, render_message(content))
    assert len(found["preview"]) == PREVIEW + 1
    assert found["has_own_colours"]
    assert not inbox_of(Content(markdown="Hi"), render_message(Content(markdown="Hi")))[
        "has_own_colours"
    ]


def test_plain_text_is_what_the_text_part_says_with_the_signature():
    content = Content(
        html="<p>Rich</p>", markdown="Plain *words*", additions={"signature": "Mila"}
    )
    assert (
        inbox_of(content, render_message(content))["plain"]
        == "Plain *words*\n\n-- \nMila"
    )


ANA = "ana@house.example"
BO = "bo@away.example"
CY = "cy@away.example"
# The fields of the row, how many of its people are outside, and the words after
# "Approve and".
LABELS = [
    ({"to_addresses": [ANA]}, 0, "send to 1 person inside"),
    ({"to_addresses": [BO]}, 1, "send to 1 person outside"),
    (
        {"to_addresses": [ANA], "cc": [BO], "bcc": [CY]},
        2,
        "send to 3 people, 2 outside",
    ),
    (
        {"to_addresses": [BO, "Bo <bo@AWAY.example>"], "cc": [BO]},
        1,
        "send to 1 person outside",
    ),
    (
        {"to_addresses": [BO], "additions": {"auto_bcc": f"{CY}, {ANA}"}},
        2,
        "send to 3 people, 2 outside",
    ),
    (
        {"to_addresses": [BO], "send_at": "2026-11-21T10:00:00Z"},
        1,
        "schedule to 1 person outside",
    ),
    # Not all of its recipients can be seen.
    ({"to_addresses": [BO], "bcc": None}, 1, "send to at least 1 person outside"),
]


def test_approve_button_names_how_many_get_it_and_how_many_of_them_outside():
    for row, outside, label in LABELS:
        seen = {
            name: value
            for name, value in pending_row("01E", **row).items()
            if (name, value) != ("bcc", None)
        }
        message = Message(addresses=["known"], outside=outside)
        assert (
            approve_label(content_of(seen), message, Demand()) == f"Approve and {label}"
        ), row


def test_approve_button_guesses_nothing_and_releases_what_came_in():
    content = content_of(pending_row("01E"))
    assert (
        approve_label(content, Message(addresses=[]), Demand())
        == "Approve and send to 1 person"
    )
    assert approve_label(None, Message(), Demand()) == "Approve"
    assert (
        approve_label(content, Message(direction="inbound"), Demand())
        == "Release to the agent"
    )


def test_approve_button_does_not_promise_to_send_where_others_have_to_approve_too():
    content = content_of(pending_row("01E"))
    two = Requirement(effects=Effects(approvals={ANY_REVIEWER: 2}))
    first = Demand(two, person=1)
    last = Demand(two, (Approval(2, "Ben"),), person=1)
    assert approve_label(content, Message(addresses=[]), first) == "Approve (1 of 2)"
    assert (
        approve_label(content, Message(direction="inbound"), first)
        == "Approve (1 of 2)"
    )
    assert (
        approve_label(content, Message(addresses=[]), last)
        == "Approve and send to 1 person"
    )


def facts(text, thread=None):
    message = render_message(Content(markdown=text))
    found = facts_of(message.plain, message.links, thread)
    return {
        kind.name: {fact.text: fact.in_thread for fact in kind.facts}
        for kind in found.kinds
    }


FOUND = [
    ("It costs EUR 12,400.00 in all.", "Sums", ["EUR 12,400.00"]),
    ("Das macht 1.200,50 € im Jahr.", "Sums", ["1.200,50 €"]),
    (
        "We take $1,200 or 15 % less, or 300 dollars.",
        "Sums",
        ["$1,200", "15 %", "300 dollars"],
    ),
    ("Version 2.1.3 came at 9:30 in room 400.", "Sums", []),
    (
        "Due by 4 December 2026 or 2026-11-30.",
        "Dates",
        ["4 December 2026", "2026-11-30"],
    ),
    (
        "Am 3. März, le 5 avril, 24.12.2026.",
        "Dates",
        ["3. März", "5 avril", "24.12.2026"],
    ),
    ("El 6 de mayo.", "Dates", ["6 de mayo"]),
    ("You may call 40 times, it may 90.", "Dates", []),
    (
        "Dear Ms. Okafor,\n\nthank you.\n\nKind regards,\nMila Sorensen",
        "Names",
        ["Okafor", "Mila Sorensen"],
    ),
    (
        "Liebe Frau Weber,\n\ndanke.\n\nViele Grüße\nJan de Vries",
        "Names",
        ["Weber", "Jan de Vries"],
    ),
    ("Hi there,\n\nwelcome.", "Names", []),
    (
        "Fine. We will refund all of it today. Bye.",
        "Promises",
        ["We will refund all of it today."],
    ),
    ("Wir werden das erstatten.", "Promises", ["Wir werden das erstatten."]),
    ("The weather is good.", "Promises", []),
    ("See [here](https://shop.acme.example/x).", "Links to", ["acme.example"]),
]


def test_facts_are_found_by_their_pattern():
    assert [
        (text, kind, list(facts(text).get(kind, {}))) for text, kind, _ in FOUND
    ] == FOUND


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


def test_many_facts_are_counted_and_a_long_message_names_what_was_not_checked():
    text = " ".join(f"EUR {number}." for number in range(1, 40)) + " " * READ
    found = facts_of(text, ())
    (sums,) = found.kinds
    assert len(sums.facts) == MOST
    assert sums.more == 39 - MOST
    assert found.unread == len(text) - READ


def test_facts_of_a_hostile_letter_take_no_longer_than_its_length_allows():
    pieces = (
        " ",
        "\t\n",
        "1",
        "1,111",
        "1 111",
        "dear ",
        "\nregards ",
        "we will ",
        "may 1",
        "\nDear A" + " A" * 9,
        "A.-'",
    )
    for piece in pieces:
        small, large = ((piece * length)[:length] for length in (READ // 40, READ // 5))
        assert is_linear(lambda text: facts_of(text, ()), small, large), piece


def test_discord_is_linked_to_by_ids_alone():
    ids = {
        "discord_guild_id": "118000000000000777",
        "discord_channel_id": "118000000000000555",
    }
    assert (
        discord_address(ids)
        == "https://discord.com/channels/118000000000000777/118000000000000555"
    )
    assert (
        discord_address({**ids, "discord_guild_id": "118000000000000777/../@me"}) == ""
    )
    assert (
        discord_address({"discord_guild": "Acme", "discord_channel": "outreach"}) == ""
    )


def test_stated_reason_is_a_text_and_nothing_else():
    assert stated_reason({"reason": " Counsel cleared it. "}) == "Counsel cleared it."
    assert stated_reason({"reason": {"a": 1}, "purpose": "Follow up"}) == "Follow up"
    assert stated_reason({}) == ""
