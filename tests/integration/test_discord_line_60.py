"""Line 60 of the security list: what a Discord message of the desk contains, and that
nothing in it acts.
"""

import json
import re
from datetime import timedelta
from html import unescape

import pytest
from django.utils import timezone
from hypothesis import example, given
from hypothesis import strategies as st

from alerts.channels import channel_of
from alerts.channels.discord.embeds import payload
from alerts.channels.discord.markdown import escape
from alerts.deliveries.planning import CARD_ACTIONS
from alerts.deliveries.witness import head_lines
from alerts.models import Delivery, Destination, Route
from approvals.decisions.status import Status
from audit.models import Seal
from demo.discord.limits import find_errors
from demo.discord.markdown import render
from rendering.invisibles import stripped
from tests.alerting import deliver
from tests.cards import embed, facts_of
from tests.factories import make_message
from tests.integration.deciding import decide
from tests.standin import multimail

PINGS = "@everyone @here <@1> <@&2> <#3>"
HOSTILE = f"{PINGS} **[x](https://evil.example)** https://evil.example `c` ||s|| <t:1> 1. > # \u202egpj\u200b"
# No writing system needs these characters.
NEVER_SHOWN = re.compile(
    "[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2060-\u2069\u3164\U000e0000\U000e0001]"
)
anything = st.text(
    st.characters(
        exclude_categories=["Cs"],
        exclude_characters=[chr(code) for code in range(0xE000, 0xE100)],
    ),
    max_size=80,
)
marked_up = st.lists(
    st.one_of(
        anything,
        st.sampled_from(
            [
                *HOSTILE.split(" "),
                "[a](https://b.example)",
                "```",
                "\\",
                "\n> ",
                "-# ",
                "1. ",
                "* ",
                "_x_",
            ]
        ),
    ),
    max_size=12,
).map("".join)


@given(marked_up)
@example(HOSTILE)
@example("1. one")
@example("\\*not bold\\*")
@example("a\U000e0061\U000e0062b")
def test_text_of_others_is_shown_literally(text):
    shown = render(escape(text))
    assert re.findall("<[^>]*>", shown) == []
    read = unescape(shown)
    assert NEVER_SHOWN.search(read) is None

    # Only invisible characters are lost, and each line end is a space.
    def plain(words):
        return re.sub(r"[\s\ufffd]+", "", stripped(words))

    assert plain(read) == plain(text)


def test_invisible_characters_are_marked():
    for hidden in (
        "\u202e",
        "\u200b",
        "\u2066",
        "\u3164",
        "\u2028",
        "\U000e0041",
        "\ufe00",
        "\u180e",
        "\x07",
        "\x85",
    ):
        assert escape(f"pay{hidden}load") in ("pay\ufffdload", "pay load"), ascii(
            hidden
        )
    # Joiners that a writing system needs are preserved.
    assert escape("👩\u200d💻 می\u200cخواهم") == "👩\u200d💻 می\u200cخواهم"


def test_longest_card_is_taken():
    for long in ("😀*" * 3000, "x" * 6000):
        many = (long,) * 9
        facts = facts_of(
            upstream_id=long, subject=long, sender=long, recipients=many, trigger={"discord_user": long}, text=long,
            held_at=timezone.now(), expires_at=timezone.now(), cc=many, bcc=many, files=many,
            facts={"risk": long, "privacy": "full", "claimed_by": long},
        )  # fmt: skip
        assert (
            find_errors(payload(embed(facts, Status("Held", "amber", long)))) == {}
        ), long[:3]


@pytest.fixture
def discord(settings, monkeypatch):
    monkeypatch.setattr("alerts.deliveries.planning.CONTENT_PAUSE", timedelta(0))
    with multimail() as standin:
        settings.OUTGOING_ALLOW = [standin.url]
        yield standin


@pytest.mark.django_db
def test_card_tells_no_more_than_the_level_of_its_destination(
    discord, connection, reviewer
):
    assert Destination().privacy == "headers"
    paths = {
        "minimal": "/api/webhooks/1/token",
        "headers": "/api/webhooks/2/token",
        "full": "/api/webhooks/3/token",
    }
    for level, path in paths.items():
        destination = Destination.objects.create(
            name=f"#{level}", url=discord.url + path, privacy=level
        )
        Route.objects.create(destination=destination, actions=list(CARD_ACTIONS))
        discord.answers[path] = discord.answers[f"{path}/messages/111"] = (
            200,
            {"id": "111"},
        )
    metadata = {"discord_user": "eve eve@hidden.example", "discord_channel": "outreach"}
    message = make_message(
        connection,
        subject=HOSTILE,
        markdown="Dear Dana, kumquat secrets.",
        metadata=metadata,
    )
    deliver_all()
    decide(message, reviewer, "reject", reason="No")
    deliver_all()

    for level, path in paths.items():
        sent = [
            (method, body)
            for method, asked, body in discord.calls
            if asked.startswith(path)
        ]
        assert [method for method, _ in sent] == ["POST", "PATCH"], level
        for _, body in sent:
            text = json.dumps(body, ensure_ascii=False)
            assert body["allowed_mentions"] == {"parse": []}, level
            assert "content" not in body, level
            assert re.findall("<[^>]*>", render(body["embeds"][0]["title"])) == [], (
                level
            )
            assert ("kumquat" in text) == (level == "full"), level
            assert (r"dana\@northwind.example" in text.replace(r"\\", "\\")) == (
                level != "minimal"
            ), level
            hidden = [
                part
                for part in ("dana", "support", "eve@", r"eve\\@", "evil")
                if part in text
            ]
            assert hidden == [] or level != "minimal"
            assert "northwind.example" in text, level


def deliver_all():
    for delivery in Delivery.objects.filter(state="due").order_by("pk"):
        deliver(delivery_id=delivery.pk)


def test_post_of_a_seal_holds_numbers_and_hashes_alone():
    fields = {
        "note": "@everyone restored for dana@northwind.example",
        "cluster": "dana",
        "at": timezone.now(),
    }
    head = head_lines(
        Seal(number=7, size=1200, key="b" * 64, signature="a" * 128, **fields)
    )
    body = channel_of("discord_webhook").lines_body(head)
    assert body["allowed_mentions"] == {"parse": []}
    assert find_errors(body) == {}
    ordinary = {
        "Ledger",
        "of",
        "Countersign",
        "seal",
        "entries",
        "sealed",
        "hash",
        "key",
        "UTC",
    }
    words = set(re.findall(r"[A-Za-z]+", re.sub("`[^`]*`", "", body["content"])))
    assert words == ordinary
