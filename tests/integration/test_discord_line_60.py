"""Line 60 of the security list: what a Discord message of the desk contains, and that
nothing in it acts.
"""

import json
import re
from html import unescape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alerts.channels.discord.embeds import escape
from alerts.models import Card, Destination
from demo.discord.markdown import render
from rendering.invisibles import stripped
from tests.cards import posted
from tests.factories import make_message
from tests.integration.deciding import decide

pytestmark = pytest.mark.usefixtures("plans_at_once")

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
            [*HOSTILE.split(" "), "```", "\\", "\n> ", "-# ", "1. ", "* ", "_x_"]
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
    for hidden in "\u202e\u200b\u2066\u3164\u2028\U000e0041\ufe00\u180e\x07\x85":
        shown = escape(f"pay{hidden}load")
        assert shown in ("pay\ufffdload", "pay load"), ascii(hidden)
    # Joiners that a writing system needs are preserved.
    assert escape("👩\u200d💻 می\u200cخواهم") == "👩\u200d💻 می\u200cخواهم"


def test_card_tells_no_more_than_the_level_of_its_destination(connection, reviewer):
    assert Destination().privacy == "headers"
    metadata = {"discord_user": "eve eve@hidden.example", "discord_channel": "outreach"}
    message = make_message(
        connection,
        subject=HOSTILE,
        markdown="Dear Dana, kumquat secrets.",
        metadata=metadata,
    )
    decide(message, reviewer, "reject", reason="No")
    for level in Destination.Privacy.values:
        destination = Destination(kind="discord_bot", privacy=level)
        card = Card(destination=destination, message=message)
        body, _ = posted(destination, card=card)
        text = json.dumps(body, ensure_ascii=False)
        assert body["allowed_mentions"] == {"parse": []}, level
        assert "content" not in body, level
        assert "<" not in render(body["embeds"][0]["title"]), level
        assert ("kumquat" in text) == (level == "full"), level
        is_whole = r"dana\@northwind.example" in text.replace(r"\\", "\\")
        assert is_whole == (level != "minimal")
        hidden = ("dana", "support", "eve@", r"eve\\@", "evil")
        assert level != "minimal" or not [part for part in hidden if part in text]
