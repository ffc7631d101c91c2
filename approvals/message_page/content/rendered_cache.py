"""Letters that were made fit to show a moment ago: page, frame and tabs ask for the same one after another.

A copy of a pure function's answer, bounded; whoever loses it works it out again.
"""

from collections import OrderedDict
from threading import Lock

from common.fingerprint import Content
from mirror.models import Revision
from mirror.store import stored_content
from rendering import RenderedMessage, render_message

MAX_LETTERS = 32
MAX_CHARACTERS = 8_000_000

_lock = Lock()
_kept: "OrderedDict[str, RenderedMessage]" = OrderedDict()


def letter_of(revision: Revision, content: Content | None = None) -> RenderedMessage:
    """Return the letter of a version, made fit to show. The fingerprint stands for all that is shown of it."""
    key = revision.fingerprint
    with _lock:
        known = _kept.get(key)
        if known is not None:
            _kept.move_to_end(key)
            return known
    letter = render_message(content or stored_content(revision))
    with _lock:
        _kept[key] = letter
        while len(_kept) > MAX_LETTERS or (len(_kept) > 1 and sum(map(_size, _kept.values())) > MAX_CHARACTERS):
            _kept.popitem(last=False)
    return letter


def _size(letter: RenderedMessage) -> int:
    return len(letter.document) + len(letter.text) + len(letter.plain) + len(letter.read)
