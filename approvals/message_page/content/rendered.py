"""The rendered message, cached for a moment, and how mail programs list and draw it."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from threading import Lock

from common.additions import text_part
from common.fingerprint import Content
from mirror.models import Revision
from mirror.store import rendered_content
from rendering import RenderedMessage, named
from rendering.invisibles import without_surrogates

MAX_MESSAGES = 64
MAX_CHARACTERS = 8_000_000

_lock = Lock()
_cache: "OrderedDict[str, RenderedMessage]" = OrderedDict()


def rendered_message_of(
    revision: Revision, content: Content | None = None
) -> RenderedMessage:
    """Return the rendered message of a version, cached by its fingerprint, which covers
    all that is shown.
    """
    known = kept_rendering(revision.fingerprint)
    return known or _kept(revision.fingerprint, rendered_content(revision, content))


def rendered_text_of(revision: Revision, content: Content) -> RenderedMessage:
    """Return the text part of a version that has HTML too, rendered by itself and
    cached in the same way.
    """
    key = f"{revision.fingerprint} text"
    return kept_rendering(key) or _kept(
        key, rendered_content(revision, replace(content, html=None))
    )


def _kept(key: str, rendered: RenderedMessage) -> RenderedMessage:
    with _lock:
        _cache[key] = rendered
        while len(_cache) > MAX_MESSAGES or (
            len(_cache) > 1 and sum(map(_size, _cache.values())) > MAX_CHARACTERS
        ):
            _cache.popitem(last=False)
    return rendered


def kept_rendering(fingerprint: str) -> RenderedMessage | None:
    """Return the rendered message of the version with this fingerprint; None where this
    process does not have it.
    """
    with _lock:
        known = _cache.get(fingerprint)
        if known is not None:
            _cache.move_to_end(fingerprint)
    return known


def _size(rendered: RenderedMessage) -> int:
    return (
        len(rendered.document)
        + len(rendered.text)
        + len(rendered.plain)
        + len(rendered.read)
    )


PREVIEW = 90
# How many lines of text are drawn; the whole text is under "Text".
LINES = 12
LINE = 300
AGENT_LINES = 40


@dataclass(frozen=True)
class Inbox:
    """What a mail program shows besides the header. `is_hidden`: its first words are
    hidden in the message itself.
    """

    preview: str
    plain: str
    # All words of the message, in the order of its source.
    words: str
    has_own_colours: bool
    is_hidden: bool


def inbox_of(content: Content, rendered: RenderedMessage) -> Inbox:
    """Return how a mail program would list and draw the message.

    The words that lists show behind the subject are the first of the message, also
    those that it hides from its reader.
    """
    words = " ".join(rendered.plain.split())
    preview = words[:PREVIEW]
    # What the recipient's program has for those who read plain text only; an agent gets
    # what is hidden as well.
    text = (
        text_part(content.markdown, content.additions)
        if content.markdown
        else rendered.text
    )
    hidden = next(
        (
            one.passage
            for one in rendered.differences
            if one.does == "hide it" and one.passage
        ),
        "",
    )
    return Inbox(
        preview=preview + ("…" if len(words) > PREVIEW else ""),
        plain=_head(named(without_surrogates(text[:20_000]))),
        words=_head(rendered.plain, lines=AGENT_LINES),
        has_own_colours='<body class="white">' in rendered.document,
        is_hidden=bool(hidden) and words.startswith(hidden[:PREVIEW]),
    )


def _head(text: str, *, lines: int = LINES) -> str:
    """Return the first lines of a text with long ones cut; an ellipsis marks each cut."""
    rows = text[: lines * LINE * 4].strip().splitlines()
    shown = "\n".join(
        line[:LINE] + ("…" if len(line) > LINE else "") for line in rows[:lines]
    )
    return shown + ("\n…" if len(rows) > lines or len(text) > lines * LINE * 4 else "")
