"""Sums, dates, names, promises and links that a letter states, in a few languages, and whether its thread has them."""

from approvals.message_page.content.origin import discord_address, stated_reason
from approvals.message_page.content.stated_facts import MOST, READ, facts_of
from common.fingerprint import Content
from rendering.render import render_message
from tests.linear import is_linear


def facts(text, thread=None):
    message = render_message(Content(markdown=text))
    found = facts_of(message.plain, message.links, thread)
    return {kind.name: {fact.text: fact.in_thread for fact in kind.facts} for kind in found.kinds}


FOUND = [
    ("It costs EUR 12,400.00 in all.", "Sums", ["EUR 12,400.00"]),
    ("Das macht 1.200,50 € im Jahr.", "Sums", ["1.200,50 €"]),
    ("We take $1,200 or 15 % less, or 300 dollars.", "Sums", ["$1,200", "15 %", "300 dollars"]),
    ("Version 2.1.3 came at 9:30 in room 400.", "Sums", []),
    ("Due by 4 December 2026 or 2026-11-30.", "Dates", ["4 December 2026", "2026-11-30"]),
    ("Am 3. März, le 5 avril, 24.12.2026.", "Dates", ["3. März", "5 avril", "24.12.2026"]),
    ("El 6 de mayo.", "Dates", ["6 de mayo"]),
    ("You may call 40 times, it may 90.", "Dates", []),
    ("Dear Ms. Okafor,\n\nthank you.\n\nKind regards,\nMila Sorensen", "Names", ["Okafor", "Mila Sorensen"]),
    ("Liebe Frau Weber,\n\ndanke.\n\nViele Grüße\nJan de Vries", "Names", ["Weber", "Jan de Vries"]),
    ("Hi there,\n\nwelcome.", "Names", []),
    ("Fine. We will refund all of it today. Bye.", "Promises", ["We will refund all of it today."]),
    ("Wir werden das erstatten.", "Promises", ["Wir werden das erstatten."]),
    ("The weather is good.", "Promises", []),
    ("See [here](https://shop.acme.example/x).", "Links to", ["acme.example"]),
]


def test_facts_are_found_by_their_pattern():
    assert [(text, kind, list(facts(text).get(kind, {}))) for text, kind, _ in FOUND] == FOUND


def test_each_fact_says_whether_it_stands_in_the_thread_however_it_is_written_there():
    text = (
        "Dear Lee,\n\nEUR 12,400.00 is due on 4 December. We will refund EUR 50 by 5 December.\n\n"
        "See https://acme.example/a"
    )
    thread = ["Hello Lee, we agreed on 12.400 EUR, payable 2026-12-04, see acme.example."]
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
    assert (len(sums.facts), sums.more) == (MOST, 39 - MOST)
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
    ids = {"discord_guild_id": "118000000000000777", "discord_channel_id": "118000000000000555"}
    assert discord_address(ids) == "https://discord.com/channels/118000000000000777/118000000000000555"
    assert discord_address({**ids, "discord_guild_id": "118000000000000777/../@me"}) == ""
    assert discord_address({"discord_guild": "Acme", "discord_channel": "outreach"}) == ""


def test_stated_reason_is_a_text_and_nothing_else():
    assert stated_reason({"reason": " Counsel cleared it. "}) == "Counsel cleared it."
    assert stated_reason({"reason": {"a": 1}, "purpose": "Follow up"}) == "Follow up"
    assert stated_reason({}) == ""
