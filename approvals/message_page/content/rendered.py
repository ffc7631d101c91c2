"""The rendered message, cached for a moment, how mail programs list and draw it, and
what became of its remote pictures.

Nothing is fetched here: `approvals.pictures` fetches pictures in a worker, when somebody
asks for them.
"""

import base64
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Lock

from django.utils import timezone

from approvals.pictures import BEYOND, key_of, loadable, outcome_of
from common.additions import text_part
from common.fingerprint import Content
from mirror.models import Message, RemotePicture, Revision
from mirror.store import rendered_content, stored_content
from rendering import FetchedPicture, RenderedMessage, named, render_message
from rendering.invisibles import without_surrogates
from rendering.result import Words

MAX_MESSAGES = 64
MAX_CHARACTERS = 8_000_000
# A worker that runs begins within this time.
SOON = timedelta(seconds=20)
_State = RemotePicture.State

_lock = Lock()
_cache: "OrderedDict[str, RenderedMessage]" = OrderedDict()


def rendered_message_of(
    revision: Revision, content: Content | None = None
) -> RenderedMessage:
    """Return the rendered message of a version, cached by its fingerprint, which covers
    all that is shown.
    """
    return _cached(revision.fingerprint, revision, content)


def rendered_text_of(revision: Revision, content: Content) -> RenderedMessage:
    """Return the text part of a version that has HTML too, rendered by itself and
    cached in the same way.
    """
    text = replace(content, html=None)
    return _cached(f"{revision.fingerprint} text", revision, text)


def _cached(key: str, revision: Revision, content: Content | None) -> RenderedMessage:
    with _lock:
        if key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
    rendered = rendered_content(revision, content)
    with _lock:
        _cache[key] = rendered
        sizes = [
            len(one.document) + len(one.text) + len(one.plain) + len(one.read)
            for one in _cache.values()
        ]
        while len(_cache) > MAX_MESSAGES or (
            len(_cache) > 1 and sum(sizes) > MAX_CHARACTERS
        ):
            _cache.popitem(last=False)
            sizes.pop(0)
    return rendered


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


@dataclass(frozen=True)
class PicturesLine:
    """The line about remote pictures above the frame: how many were loaded, are under
    way, or can be loaded.
    """

    to_load: int
    found: int
    to_retry: int
    under_way: int
    is_late: bool
    asked: int
    loaded: int
    tracking: int
    # Of all that the message would load, pictures or not.
    left_out: int
    is_allowed: bool


def pictures_line(message: Message) -> PicturesLine | None:
    """Return the line; None where the message has no remote pictures."""
    rendered = rendered_message_of(message.revision) if message.revision else None
    if rendered is None or not rendered.remote:
        return None
    # Without the pictures themselves.
    asked = RemotePicture.objects.filter(revision=message.revision_id)
    rows = list(asked.only("url_sha256", "state", "reason", "asked_at", "lease_until"))
    known = {row.url_sha256 for row in rows}
    loaded = {row.url_sha256 for row in rows if row.state == _State.LOADED}
    tracking = sum(bool(one.tracking) for one in rendered.remote)
    under_way = [row for row in rows if row.state in (_State.WAITING, _State.FETCHING)]
    long_ago = timezone.now() - SOON
    is_late = any(
        row.lease_until is None and row.asked_at < long_ago for row in under_way
    )
    return PicturesLine(
        to_load=sum(key_of(one.url) not in known for one in loadable(rendered.remote)),
        found=len(rendered.remote) - tracking,
        to_retry=sum(row.state == _State.FAILED for row in rows),
        under_way=len(under_way),
        is_late=is_late,
        asked=len(rows),
        loaded=len(loaded),
        tracking=tracking + sum(row.reason == "tiny" for row in rows),
        left_out=sum(
            not loaded or key_of(one.url) not in loaded for one in rendered.blocked
        ),
        is_allowed=message.mailbox is not None and message.mailbox.loads_pictures,
    )


def document_with_pictures(
    revision: Revision, *, until: datetime | None = None, found: Words | None = None
) -> str:
    """Return the frame's document, with the remote pictures that were fetched, until
    then where a time is given.

    It is made anew each time: as what is approved, the rendering that is kept knows
    nothing of them. Nor does it know of the words that are `found`, which get a mark.
    """
    rows = RemotePicture.objects.filter(revision=revision)
    if until is not None:
        rows = rows.filter(fetched_at__lte=until)
    fetched = {}
    for row in rows:
        picture = FetchedPicture(outcome_of(row))
        if row.state == _State.LOADED and row.content is not None:
            encoded = base64.b64encode(row.content).decode()
            picture = replace(
                picture,
                source=f"data:image/png;base64,{encoded}",
                pixels=row.width * row.height,
            )
        fetched[row.url] = picture
    rendered = rendered_message_of(revision)
    if rendered.doubt or not (fetched or found):
        return rendered.document
    may = {one.url for one in loadable(rendered.remote)}
    fetched |= {
        one.url: FetchedPicture(BEYOND)
        for one in rendered.remote
        if not one.tracking and one.url not in may
    }
    return render_message(stored_content(revision), fetched, found=found).document
