"""Gives back what somebody typed where a letter was not sent: Discord keeps none of it, and it may have been long."""

from alerts.channels.discord.commands.given import read_options
from alerts.channels.discord.interactions.followup import MAX_CONTENT
from alerts.channels.discord.markdown import cut, units

_BEGIN, _FENCE = "\nYou typed:\n", "```"
# What is typed beside the text itself.
_NAMED = ("to", "subject", "message_id")
# Beside the sentence at least so much is worth giving back.
_LEAST = 40


def with_what_was_typed(sentence: str, options: str) -> str:
    """Return the answer with the letter's text below it, to be copied, as far as both fit into Discord's limit."""
    typed = read_options(options)
    if not typed.get("body", "").strip():
        return sentence
    named = [f"{name}: {typed[name]}" for name in _NAMED if typed.get(name, "").strip()]
    # Three of them would end the block in which nothing else means anything.
    body = "\n".join([*named, typed["body"].strip()]).replace(_FENCE, "'''")
    room = MAX_CONTENT - units(sentence) - units(_BEGIN) - 2 * (len(_FENCE) + 1)
    if room < _LEAST:
        return sentence
    return f"{sentence}{_BEGIN}{_FENCE}\n{cut(body, room)}\n{_FENCE}"
