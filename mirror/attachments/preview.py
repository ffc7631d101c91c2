"""Decides how an attached file is shown to a reviewer: as a harmless document in a
frame that may load nothing, as pictures of its pages, or not at all, with a sentence
why.

Pictures of four simple formats are shown as they are, and text files as text. Of Office
files and PDFs a rendering is made when somebody opens them. No other file is shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from common.time_zones import local_time, zone_word
from common.unique_keys import Json
from mirror.attachments import frame_html
from mirror.attachments.file_types import (
    KINDS,
    SENTENCES,
    Event,
    Flag,
    Kind,
    Refused,
    flags_of_name,
    with_article,
)
from mirror.attachments.parsed import RENDERED, read_rendering
from mirror.models import AttachedFile, StoredFile

# How many pages of a PDF are shown at once.
AT_ONCE = 4
# By the kind of a note on a page of a PDF, the words before it.
_NOTES = {
    "note": "A note",
    "field": "The value of a field, which is not drawn",
    "link": "Links to",
    "outside": "Text outside of the page",
}
UNCHANGED = "The download is the original file."
# A larger picture is not shown, because it could fill the memory of the reviewer's
# browser. The last of these limits is in bytes.
MAX_PIXELS = 40_000_000
MAX_SIDE = 16_000
MAX_PICTURE = 8 * 1024 * 1024
_State = AttachedFile.State
# Why there is no preview of a file in this state.
_ABSENT = {
    "waiting": "It is being fetched.",
    "too_large": "It is larger than this desk fetches (25 MB). Open it at MultiMail before you decide.",
    "gone": "MultiMail no longer has it (404). The desk tries again from time to time.",
    "not_visible": "Not visible with this key, so its content cannot be shown here.",
    "failing": "It could not be fetched yet. The desk tries again.",
    "deleted": "The desk deleted its copy after the retention time. The results of its checks stay.",
}


@dataclass(frozen=True)
class FilePreview:
    """One file as the page shows it. `name` is the id of its place on the page."""

    file: AttachedFile
    name: str = ""
    is_opened: bool = False

    @property
    def is_here(self) -> bool:
        return self.file.state == _State.FETCHED

    @property
    def refusal(self) -> str:
        """Why the file is not shown, as a sentence; empty if it can be, as far as is
        known before it is drawn.
        """
        return refusal_of(self.file)

    @property
    def kind(self) -> Kind | None:
        """The kind of the file by its bytes; None until they were fetched."""
        return KINDS.get(self.file.kind)

    @property
    def words(self) -> str:
        if not self.kind:
            return ""
        detection = self.file.seen
        if not detection.get("width"):
            return self.kind.words
        return f"{self.kind.words}, {detection['width']} × {detection['height']} pixels"

    @cached_property
    def flags(self) -> tuple[Flag, ...]:
        """What to know about the file: by its bytes, or until they were fetched by its
        name and type.
        """
        if not self.kind:
            return flags_of_name(self.file.name, self.file.content_type)
        return tuple(Flag(**one) for one in self.file.seen.get("flags", ()))

    @property
    def is_high(self) -> bool:
        return any(flag.level == "high" for flag in self.flags)

    @property
    def events(self) -> "list[ShownEvent]":
        """The events of a calendar."""
        return [ShownEvent(**one) for one in self.file.seen.get("events", ())]

    @property
    def total(self) -> int:
        """How many files an archive contains, listed by name or not."""
        return len(self.file.seen.get("members", ())) + int(
            self.file.seen.get("more", 0)
        )

    @property
    def has_pages(self) -> bool:
        """Whether the file is shown as pictures of its pages."""
        return self.file.kind == "pdf"

    @property
    def is_picture(self) -> bool:
        return self.kind is not None and self.kind.family == "image"

    @property
    def is_short(self) -> bool:
        """Whether the file is a text so short that a low frame shows all of it."""
        return (
            not self.is_picture
            and self.file.kind not in RENDERED
            and (self.file.found_size or 0) < 400
        )

    @property
    def size_differs(self) -> bool:
        """Whether the file has another size than the message says. If the message names
        a hash, that is compared instead.
        """
        sizes = (None, self.file.size)
        return not self.file.sha256 and self.file.found_size not in sizes


_METHODS = {
    "CANCEL": "Cancelled",
    "COUNTER": "Proposal",
    "REPLY": "Answer",
    "REQUEST": "Invitation",
}
_EVERY = {"DAILY": "day", "WEEKLY": "week", "MONTHLY": "month", "YEARLY": "year"}


class ShownEvent(Event):
    """One event of a calendar, with its words."""

    @property
    def title(self) -> str:
        return _METHODS.get(self.method, "Event")

    @property
    def when(self) -> str:
        """When it is, in the reader's zone if that is known."""
        starts = datetime.fromisoformat(self.starts)
        ends = datetime.fromisoformat(self.ends)
        zone = "all day"
        clock = "%a %-d %b %Y"
        if "T" in self.starts:
            clock += ", %H:%M"
            zone = "in the reader's time zone"
            if self.zone:
                zone = f"in the zone “{self.zone}”, which is not known here"
        if starts.tzinfo and ends.tzinfo:
            zone = zone_word(starts)
            starts = local_time(starts)
            ends = local_time(ends)
        until = ""
        if starts != ends:
            is_same_day = starts.date() == ends.date()
            until = f" to {ends.strftime('%H:%M' if is_same_day else clock)}"
        return f"{starts.strftime(clock)}{until}, {zone}"

    @property
    def repetition(self) -> str:
        """How often it takes place. A rule that says more is shown as it is written."""
        rule = dict(one.partition("=")[::2] for one in self.repeats.split(";"))
        every = _EVERY.get(rule.pop("FREQ", ""))
        times = rule.pop("COUNT", "")
        if rule or not every:
            return self.repeats
        return f"every {every}, {times} times" if times else f"every {every}"


def refusal_of(file: StoredFile) -> str:
    """Return why a file is not shown here, as a sentence; empty for one that is."""
    if file.state != _State.FETCHED:
        return _ABSENT[file.state]
    kind = KINDS[file.kind]
    detection = file.seen
    if kind.name == "empty":
        return "It is empty."
    if kind.family == "image":
        width = int(detection.get("width", 0))
        height = int(detection.get("height", 0))
        if not width or not height:
            return "Its size is not known, so it is not shown here."
        if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
            return (
                f"It claims {width} × {height} pixels, which would fill the memory of "
                "the browser, so it is not shown."
            )
        if (file.found_size or 0) > MAX_PICTURE:
            return "It is too large to be shown here."
        return ""
    if kind.family == "text" or kind.name in ("xml", "html", "svg", "script"):
        return "" if detection.get("encoding") else "It cannot be read as text."
    if kind.name in RENDERED:
        return ""
    if kind.name == "unknown":
        return "Its file type could not be recognised, so it is not shown here."
    words = with_article(kind.words.partition(",")[0])
    return f"{words[0].upper()}{words[1:]} cannot be shown safely here."


@dataclass(frozen=True)
class FrameDocument:
    """The document in the frame of one file; `is_shown` is False if it only says why
    the file is not shown.
    """

    html: str
    is_shown: bool = True


def document_of(file: StoredFile) -> FrameDocument:
    """Return the document for the frame: a picture, text, or text and tables; else the
    sentence that refuses it.
    """
    refusal = refusal_of(file)
    if file.kind == "pdf" and not refusal:
        refusal = "Its pages are shown as pictures."
    body = ""
    if not refusal and file.content is not None:
        content = bytes(file.content)
        if KINDS[file.kind].family == "image":
            try:
                facts = read_rendering(file).get("facts")
            except Refused:
                facts = None
            body = frame_html.as_picture(content, file.kind, file.name, facts)
        elif file.kind in RENDERED:
            try:
                body = frame_html.as_outline(read_rendering(file))
            except Refused as refused:
                refusal = f"{SENTENCES[refused.reason]} {UNCHANGED}"
        else:
            body = frame_html.as_text(content, str(file.seen["encoding"]))
    return FrameDocument(
        frame_html.document(body or frame_html.sentence(refusal)), is_shown=bool(body)
    )


@dataclass(frozen=True)
class PdfPages:
    """Some pages of a PDF, shown as pictures with their text."""

    # Why no pages are shown, as a sentence.
    refusal: str = ""
    # How many pages the PDF has.
    count: int = 0
    # Each with its number, width, height, text and notes.
    pages: Sequence[Json] = ()
    # The number of the page after these; 0 at the end.
    next: int = 0
    # How many pages are never shown, because the PDF has too many.
    left_out: int = 0
    # Whether the text of all shown pages could be read.
    is_text_whole: bool = True
    # Whether the parser was busy, so that another try in a moment may work.
    is_busy: bool = False


def pdf_pages(file: AttachedFile, *, first: int = 1) -> PdfPages:
    """Return at most AT_ONCE pages, from the page with the number `first`; or why the
    pages of this file cannot be shown.
    """
    refusal = refusal_of(file)
    if refusal or file.kind != "pdf":
        return PdfPages(refusal=refusal or "It has no pages that can be shown.")
    try:
        rendering = read_rendering(file)
    except Refused as refused:
        return PdfPages(
            refusal=f"{SENTENCES[refused.reason]} {UNCHANGED}",
            is_busy=refused.reason == "busy",
        )
    pages = [
        {
            **page,
            "number": number,
            "notes": [(_NOTES[kind], words) for kind, words in page["notes"]],
        }
        for number, page in enumerate(rendering["pages"], start=1)
    ]
    shown = pages[first - 1 : first - 1 + AT_ONCE]
    last = first - 1 + len(shown)
    return PdfPages(
        refusal="" if shown else SENTENCES["no_page"],
        count=rendering["count"],
        pages=shown,
        next=last + 1 if last < len(pages) else 0,
        left_out=rendering["count"] - len(pages),
        is_text_whole=rendering["is_text_whole"],
    )
