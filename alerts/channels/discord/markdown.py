"""Text of others for Discord: shown literally, with invisible characters marked."""

import re
from collections.abc import Sequence
from datetime import datetime

from alerts.cards.markup import MAX_SHORT, Markup, cut, visible

_MARKDOWN = re.compile(r"([\\`*_~|>\[\]()#:<@\-])")
# At its beginning, a number with a dot would become a list.
_NUMBERED = re.compile(r"^(\s*[0-9]+)\.")


def escape(text: str) -> str:
    """Return `text` so that Discord shows it literally: no Markdown, no mentions, no
    links, no invisible characters.
    """
    return _NUMBERED.sub(r"\1\\.", _MARKDOWN.sub(r"\\\1", visible(text)))


def literal(text: str, limit: int = MAX_SHORT) -> str:
    """Return as much of `text` as fits, shown literally."""
    # Of a much longer text only the beginning is escaped, because it is cut anyway.
    return cut(escape(text[: 8 * limit]), limit)


class DiscordMarkdown(Markup):
    """How cards are written for Discord."""

    def plain(self, text: str, limit: int = MAX_SHORT) -> str:
        return literal(text, limit)

    def bold(self, text: str) -> str:
        return f"**{text}**"

    def link(self, label: str, url: str) -> str:
        return f"[{label}]({url})"

    def aligned(self, lines: Sequence[str]) -> str:
        # In a block of code nothing but its end is markup.
        return "```\n{}\n```".format(
            "\n".join(visible(line).replace("`", "ˋ") for line in lines)
        )

    def moment(self, at: datetime) -> str:
        # Discord shows it as "3 hours ago" or "in 2 minutes", and updates it.
        return f"<t:{int(at.timestamp())}:R>"


MARKDOWN = DiscordMarkdown()
