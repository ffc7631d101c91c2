"""What is posted under hostile names: cards, buttons and short forms, read by
Discord and by discord.py.
"""

import json
import re
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from alerts.cards.buttons import read_custom_id
from alerts.cards.markup import shortened, units
from alerts.cards.message import desk_link, message_card
from alerts.channels.discord.channel import DiscordBot
from alerts.channels.discord.embeds import (
    MARKDOWN,
)
from alerts.channels.requests import MAX_STORED, redacted
from alerts.models import Destination
from approvals.decisions.status import Status, StatusCode
from common.exchange import Answer
from demo.discord.markdown import render
from tests.cards import facts_of
from tests.discord_limits import count_pings, find_errors

with warnings.catch_warnings():
    # It imports a module of the standard library that goes away, for voices.
    warnings.simplefilter("ignore", DeprecationWarning)
    import discord
    from discord.components import ActionRow, _component_factory

MESSAGE = UUID("0190f5c8-0000-7000-8000-000000000001")
HELD_AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
EXPIRES_AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
HELD = Status(StatusCode.HELD, "amber", "Waiting for a decision")
HOSTILE = (
    "@everyone **[click](https://evil)**",
    "<@1> <@&2> <#3> @here </pay:4> <t:1:R> `x`", "a\u202egnp.exe\u2066 \u200b\u2060", "*" * 10_000,
    "\\" * 10_000, "👩\u200d💻" * 3_000, "lone \ud83d surrogate \udc00", "\u3164\u115f\u00ad", "", "   ",
    "\n> quote\n# head\n- list\n1. one\n-# small", "```\ncode``` ||spoiler|| ~~gone~~ __u__",
)  # fmt: skip
TONES = ("amber", "orange", "green", "rose", "blue", "violet", "plain")
words = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(), max_size=120))


def facts(text, privacy="headers"):
    return facts_of(
        upstream_id=text, subject=text, sender=text, recipients=[text] * 7, held_at=HELD_AT, expires_at=EXPIRES_AT,
        trigger={"discord_user": text, "discord_channel": text, "discord_guild": text}, text=text,
        cc=[text], files=[text],
        destination=Destination(privacy=privacy), facts={"risk": text, "claimed_by": text},
    )  # fmt: skip


def bot_body(text, tone="amber", privacy="headers", *, is_short=False):
    card = message_card(
        facts(text, privacy), Status(StatusCode.HELD, tone, text), MARKDOWN
    )
    shown = replace(card, message=MESSAGE, revision=7, shows_all=True)
    shown = shortened(shown) if is_short else shown
    return DiscordBot().body(shown, Destination())


def read_by_discord_py(body):
    """Read `body` as discord.py reads what Discord sends, and return the embed and the
    buttons.
    """
    shown = discord.Embed.from_dict(body["embeds"][0])
    rows = [_component_factory(row) for row in body.get("components", [])]
    assert all(isinstance(row, ActionRow) for row in rows)
    return shown, [button for row in rows for button in row.children]


def held_to_the_rules(body):
    assert find_errors(body) == {}
    assert units("".join(strings_of(body["embeds"]))) <= 6000
    json.dumps(body, ensure_ascii=False).encode()
    assert body["allowed_mentions"] == {"parse": []}
    assert count_pings(json.dumps(body), body["allowed_mentions"]) == 0


def strings_of(value):
    if isinstance(value, dict):
        for key, one in value.items():
            yield from () if key == "url" else strings_of(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings_of(one)
    elif isinstance(value, str):
        yield value


def test_every_card_of_hostile_mail_is_accepted_by_discord_and_by_discord_py():
    for number, text in enumerate(HOSTILE):
        # Each text with an open and an ended tone; all tones come up.
        for tone in (("amber", "orange")[number % 2], TONES[2 + number % 5]):
            body = bot_body(text, tone, "full")
            held_to_the_rules(body)
            shown, buttons = read_by_discord_py(body)
            assert shown.to_dict()["fields"] == body["embeds"][0]["fields"]
            assert len(shown) <= 6000
            assert [button.label for button in buttons][-1] == "Open"


@given(words, st.sampled_from(TONES))
def test_any_text_makes_cards_and_short_forms_within_the_limits(text, tone):
    for is_short in (False, True):
        held_to_the_rules(bot_body(text, tone, "full", is_short=is_short))


@given(words)
def test_no_text_of_others_becomes_a_link_or_a_time(text):
    body = bot_body(text, privacy="full")
    html = "".join(render(one) for one in strings_of(body["embeds"]))
    assert set(re.findall('href="([^"]*)"', html)) <= {desk_link(facts(text).message)}
    # Held and Expires are ours; no other moment can be written by mail.
    stamps = re.findall(r"(?<!\\)<t:[0-9]+:R>", json.dumps(body))
    assert stamps == [f"<t:{int(one.timestamp())}:R>" for one in (HELD_AT, EXPIRES_AT)]


def test_custom_id_that_the_desk_never_wrote_is_nothing():
    number = "0190f5c8000070008000000000000001"
    made_up = ["", f"cs:undo:{number}:7", f"cs:approve:{number.upper()}:7"]
    made_up += [
        f"cs:approve:{number}:{revision}" for revision in ("07", "\u0667", 2**63, "7\n")
    ]
    assert [text for text in made_up if read_custom_id(text) is not None] == []


def test_secret_at_the_end_of_a_stored_answer_is_not_cut_but_taken_out():
    body = b"x" * (MAX_STORED - 4) + b"token-of-a-webhook"
    stored = redacted(Answer(500, CaseInsensitiveDict(), body), ["token-of-a-webhook"])
    assert stored == "x" * (MAX_STORED - 4) + "…"
