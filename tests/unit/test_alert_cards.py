"""Cards: what they show, within Discord's limits, with nothing in them that acts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.cards.card import AMBER, CardFacts, embed, payload, triggered_by
from alerts.cards.text import MAX_TITLE, cut, escape
from approvals.deciding.status import Status

HELD = Status("Held", "amber", "Waiting for a decision")
FACTS = CardFacts(
    upstream_id="01EMAIL",
    link="https://desk.example/approvals/01EMAIL/",
    subject="Your refund",
    sender="support@yourteam.example",
    recipients=("dana@northwind.example",),
    trigger={"discord_user": "ana#1", "discord_channel": "outreach", "discord_guild": "Acme"},
    fingerprint="7F3A-19C2-K0QD",
)


def utf16(text):
    return len(text.encode("utf-16-le")) // 2


def test_held_card_is_the_amber_one():
    card = embed(FACTS, HELD)
    assert (card["color"], card["url"]) == (AMBER, FACTS.link)
    assert AMBER == 0xF59E0B
    assert [field["name"] for field in card["fields"]] == ["From", "To", "Triggered by", "Message ID", "Fingerprint"]


def test_risk_is_told_in_words_that_cannot_act():
    card = embed(CardFacts(**{**vars(FACTS), "risk": "look-alike, [x](y)"}), HELD)
    assert {"name": "Seen in it", "value": r"look\-alike, \[x\]\(y\)", "inline": False} in card["fields"]


def test_outcome_changes_colour_and_words_and_takes_the_call_to_decide_away():
    card = embed(FACTS, Status("Rejected", "rose", "Rejected by Ana"))
    assert card["color"] != AMBER
    assert "Read it and decide" not in card["description"]
    assert card["description"] == "**Rejected** by Ana."


def test_hostile_subject_is_shown_literally_and_pings_nobody():
    hostile = CardFacts(**{**vars(FACTS), "subject": "@everyone **[click](https://evil.example)** <@1> `x`"})
    body = payload(embed(hostile, HELD))
    title = body["embeds"][0]["title"]
    assert not re.search(r"(?<!\\)[@*\[\]()<>`]", title)
    assert body["allowed_mentions"] == {"parse": []}


def test_invisible_characters_are_marked():
    assert escape("pay\u202eload\u200b") == "pay\ufffdload\ufffd"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=600), st.integers(10, 300))
def test_cut_keeps_within_the_limit_and_never_breaks_an_escape(text, limit):
    short = cut(escape(text), limit)
    assert utf16(short) <= limit
    if short.endswith("…") and short != escape(text):
        assert not short[:-1].endswith("\\")


def test_long_subject_of_astral_characters_fits_discords_count():
    card = embed(CardFacts(**{**vars(FACTS), "subject": "🎉" * 400}), HELD)
    assert utf16(card["title"]) <= MAX_TITLE


def test_huge_recipient_list_fits():
    card = embed(CardFacts(**{**vars(FACTS), "recipients": tuple(f"p{n}@x.example" for n in range(5000))}), HELD)
    total = sum(utf16(f["name"]) + utf16(f["value"]) for f in card["fields"])
    assert total + utf16(card["title"]) + utf16(card["description"]) + utf16(card["footer"]["text"]) <= 6000


def test_minimal_privacy_masks_subject_and_addresses():
    card = str(embed(CardFacts(**{**vars(FACTS), "privacy": "minimal"}), HELD))
    assert "refund" not in card
    assert "dana@" not in card


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        ({"discord_user": "ana#1", "discord_channel": "#outreach"}, "ana#1 in #outreach"),
        ({"run_id": "01RUN"}, "run 01RUN"),
        ({"runId": "01RUN"}, "run 01RUN"),
        ({}, "an agent, through the API"),
    ],
)
def test_trigger_in_words(trigger, words):
    assert triggered_by(trigger) == words
