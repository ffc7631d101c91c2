"""Text of others for Discord: shown literally, with what cannot be seen marked, and cut within Discord's limits.

Limits are counted in UTF-16 units, which is the stricter of the ways in which Discord's own clients count.
"""

import re
from datetime import datetime
from typing import Any

from rendering.invisibles import Tally, pieces

MAX_TITLE, MAX_VALUE = 256, 1024
# Of what others wrote and a card can do without, so much: all parts together must stay under Discord's 6,000.
MAX_SHORT = 256
_MARKDOWN = re.compile(r"([\\`*_~|>\[\]()#:<@\-])")
# At its beginning, a number with a dot would become a list.
_NUMBERED = re.compile(r"^(\s*[0-9]+)\.")
_LINES = re.compile("[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")
# A joiner or mark that lost its partner, or the first half of an escape, would change what stands before it.
_HALF = re.compile(r"[\\\u200d\ufe0f]+$")


def escape(text: str) -> str:
    """Return `text` so that Discord shows it literally: no Markdown, no mentions, no links, no invisible characters."""
    shown = ("\ufffd" if is_mark else piece for is_mark, piece in pieces(_LINES.sub(" ", text), Tally()))
    return _NUMBERED.sub(r"\1\\.", _MARKDOWN.sub(r"\\\1", "".join(shown)))


def literal(text: str, limit: int = MAX_SHORT) -> str:
    """Return so much of `text` as fits, shown literally."""
    # Of what is much longer no more is looked at: what is seen is cut before, whatever cannot be seen comes first.
    return cut(escape(text[: 8 * limit]), limit)


def units(text: str) -> int:
    """Return the length of `text` in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(text: str, limit: int) -> str:
    """Return `text` within `limit` UTF-16 units, never ending in half a character or an escape."""
    if units(text) <= limit:
        return text
    while units(text) > limit - 1:
        text = text[: max(0, min(len(text) - 1, limit - 1))]
    return _HALF.sub("", text) + "…"


def field(name: str, value: str, limit: int = MAX_VALUE, *, inline: bool = False) -> dict[str, Any]:
    """Return a field with text of others; Discord takes none without a value."""
    return {"name": name, "value": literal(value, limit).strip() or "—", "inline": inline}


def stamp(moment: datetime) -> str:
    """Return what Discord shows as “3 hours ago” or “in 2 minutes”, and keeps true by itself."""
    return f"<t:{int(moment.timestamp())}:R>"
