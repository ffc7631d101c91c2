"""The stand-in's knowledge of Discord: limits of messages and Markdown of
cards; and the demo's messages, by which nobody real is written to.
"""

from datetime import UTC, datetime

from alerts.channels.discord.registration import COMMANDS
from demo.messages import MESSAGES
from demo.messages.message import blanks, fill_in
from tests.discord_limits import Command, find_errors


def test_commands_are_accepted_by_discord():
    assert find_errors(COMMANDS, list[Command]) == {}


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
