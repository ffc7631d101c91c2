"""The stand-in's knowledge of Discord: limits of messages and Markdown of
cards; and the demo's messages, by which nobody real is written to.
"""

from datetime import UTC, datetime

from alerts.channels.discord.registration import COMMANDS
from demo.discord.markdown import render
from demo.messages import MESSAGES
from demo.messages.message import blanks, fill_in
from tests.discord_limits import Command, find_errors


def test_commands_are_accepted_by_discord():
    assert find_errors(COMMANDS, list[Command]) == {}


def test_markup_is_rendered_and_escapes_are_literal():
    rendered = {
        r"\*\*plain\*\* \`x\` \[a\]": "**plain** `x` [a]",
        "[read](https://a.example/?a=1&b=2)": (
            '<a href="https://a.example/?a=1&amp;b=2" target="_blank" rel="noopener noreferrer">read</a>'
        ),
    }
    assert {text: render(text) for text in rendered} == rendered
    # A link whose text is an address is shown as written, and a title has none of its
    # own.
    assert "<a" not in render("[https://acme-corp.example](https://acrne-corp.example)")
    assert "<a" not in render("[x](https://a.example) https://b.example", links=False)


RESERVED = (".example", ".test", "@example.com")


def test_every_message_fills_its_blanks_and_goes_to_reserved_domains_only():
    values = blanks(3, datetime(2026, 11, 20, 8, 0, tzinfo=UTC))
    for message in MESSAGES:
        assert all(
            fill_in(text, values).strip()
            for text in (message.subject, message.body, message.why)
        ), message.name
        recipients = ", ".join(
            filter(None, (message.to, message.cc, message.bcc))
        ).split(", ")
        assert all(address.endswith(RESERVED) for address in recipients), message.name
