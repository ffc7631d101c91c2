"""How one attached file is shown: a harmless document for a frame that may load nothing, or a sentence that refuses.

Pure. Pictures of four plain kinds are shown as they are, text as text; nothing else is shown here at all.
"""

import base64
import html
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mirror.attachments.detection import Flag, flags_of_name, with_article
from mirror.attachments.file_types import KINDS
from mirror.models import AttachedFile
from rendering.invisibles import Tally, named, pieces, without_surrogates

STYLE = Path(__file__).resolve().parents[2] / "static" / "css" / "part.css"

# A picture that claims to be larger could exhaust the reviewer's memory.
MAX_PIXELS = 40_000_000
MAX_SIDE = 16_000
MAX_PICTURE = 8 * 1024 * 1024
# Text beyond this is not shown; a note says so, and the file can be downloaded.
MAX_TEXT = 200_000

_DOCUMENT = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Attached file</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="referrer" content="no-referrer"><style>{style}</style></head><body>{body}</body></html>'
)
_State = AttachedFile.State
# Why there is no preview, in a sentence.
_ABSENT = {
    _State.WAITING: "It is being fetched.",
    _State.TOO_LARGE: "It is larger than this desk fetches (25 MB). Read it at MultiMail before you decide.",
    _State.GONE: "MultiMail does not have it any more (404). It is asked again now and then.",
    _State.NOT_VISIBLE: "Not visible with this key: what is in it cannot be looked at here.",
    _State.FAILING: "It could not be fetched yet. It is tried again by itself.",
    _State.DELETED: "Its bytes were deleted here, because their time was over. What was seen of them stays.",
}


@dataclass(frozen=True)
class FilePreview:
    """One file as the page shows it. `refusal` says why it cannot be looked at; empty where it can."""

    file: AttachedFile
    words: str
    flags: tuple[Flag, ...]
    members: tuple[str, ...]
    more: int
    refusal: str
    is_waiting: bool
    is_opened: bool = False

    @property
    def is_here(self) -> bool:
        return self.file.state == _State.FETCHED

    @property
    def is_high(self) -> bool:
        return any(flag.level == "high" for flag in self.flags)

    @property
    def serious(self) -> tuple[str, ...]:
        """What the bytes reveal and the name does not, as sentences."""
        known = {flag.sentence for flag in flags_of_name(self.file.name, self.file.content_type)}
        return tuple(flag.sentence for flag in self.flags if flag.level == "high" and flag.sentence not in known)

    @property
    def total(self) -> int:
        """How many files are inside an archive."""
        return len(self.members) + self.more

    @property
    def is_picture(self) -> bool:
        return KINDS[self.file.kind].family == "image" if self.file.kind in KINDS else False

    @property
    def is_short(self) -> bool:
        """Whether it is so little text that a low frame shows all of it."""
        return not self.is_picture and (self.file.found_size or 0) < 400

    @property
    def size_differs(self) -> bool:
        """Whether more or fewer bytes came than the message says, where it names no hash."""
        return self.file.found_size is not None and not self.file.sha256 and self.file.found_size != self.file.size


def preview_of(file: AttachedFile, *, is_opened: bool = False) -> FilePreview:
    """Return what the page says of a file."""
    seen: Mapping[str, Any] = file.seen or {}
    kind = KINDS.get(file.kind)
    flags = tuple(Flag(str(one["level"]), str(one["sentence"])) for one in seen.get("flags", ()))
    return FilePreview(
        file=file,
        words=_words(file, seen) if kind else "",
        flags=flags if kind else flags_of_name(file.name, file.content_type),
        members=tuple(seen.get("members", ())),
        more=int(seen.get("more", 0)),
        refusal=refusal_of(file),
        is_waiting=file.state == _State.WAITING,
        is_opened=is_opened,
    )


def _words(file: AttachedFile, seen: Mapping[str, Any]) -> str:
    words = KINDS[file.kind].words
    return f"{words}, {seen['width']} × {seen['height']} pixels" if seen.get("width") else words


def refusal_of(file: AttachedFile) -> str:
    """Return why a file is not shown here, as a sentence; empty for one that is."""
    if file.state != _State.FETCHED:
        return _ABSENT[_State(file.state)]
    kind, seen = KINDS[file.kind], file.seen
    if kind.name == "empty":
        return "There is nothing in it."
    if kind.family == "image":
        width, height = int(seen.get("width", 0)), int(seen.get("height", 0))
        if not width or not height:
            return "It does not tell how large it is, so it is not drawn here."
        if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
            return f"It claims {width} × {height} pixels, which would fill the memory of this browser: not drawn here."
        return "" if (file.found_size or 0) <= MAX_PICTURE else "It is too large to be drawn here."
    if kind.family == "text" or kind.name in ("xml", "html", "svg", "script"):
        return "" if seen.get("encoding") else "It cannot be read as text."
    if kind.name == "unknown":
        return "What kind of file it is cannot be told by its bytes, so it is not shown here."
    words = with_article(kind.words.partition(",")[0])
    return f"{words[0].upper()}{words[1:]} cannot be shown safely here."


def document_of(file: AttachedFile) -> str:
    """Return the document for the frame: a picture or text; for everything else the sentence that refuses it."""
    refusal = refusal_of(file)
    if refusal or file.content is None:
        return _document(f"<p>{html.escape(refusal)}</p>")
    content = bytes(file.content)
    if KINDS[file.kind].family == "image":
        data = base64.b64encode(content).decode()
        name = html.escape(named(without_surrogates(file.name)), quote=True)
        return _document(f'<figure><img alt="{name}" src="data:image/{file.kind};base64,{data}"></figure>')
    return _document(_as_text(content, str(file.seen["encoding"])))


def _as_text(content: bytes, encoding: str) -> str:
    text = without_surrogates(content.decode(encoding, "replace"))
    tally, left = Tally(), len(text) - MAX_TEXT
    shown = "".join(
        f'<span class="ghost">{html.escape(piece)}</span>' if is_mark else html.escape(piece)
        for is_mark, piece in pieces(text[:MAX_TEXT], tally)
    )
    notes = [f"{left:,} more characters are left out here. Download the file to read them."] if left > 0 else []
    if tally.unmarked:
        notes.append(f"{tally.unmarked:,} more invisible characters are left out here.")
    return f"<pre>{shown}</pre>" + "".join(f"<p>{note}</p>" for note in notes)


def _document(body: str) -> str:
    return _DOCUMENT.replace("{style}", _style()).replace("{body}", body)


@cache
def _style() -> str:
    return STYLE.read_text(encoding="utf-8")
