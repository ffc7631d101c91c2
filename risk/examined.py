"""Has a message examined by the parser, a confined process: what the result is
(`Examined`), and the function that asks for it. Runs in the site and its workers.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from common.fingerprint import Content
from parsing.client import ParserKilled
from rendering.parsed import ask_parser
from rendering.result import NOT_SAFE, RenderedMessage
from rendering.source_view import render_source
from risk.findings import Finding, not_read_safely, restored
from risk.sums import Sums


@dataclass(frozen=True)
class Examined:
    """What the parser found in a content. `shown` is the rendered message without its
    document, `words` all text of its HTML, visible or not. `findings` are those about
    what it says. `amounts` and `shape` are hashes, the same for alike messages
    (`risk.similarity`). `hosts` are those where its links lead and those that its text
    names; None if they are not known. `links` has of each link its words and where it
    leads, in one spelling.
    """

    shown: RenderedMessage
    words: str
    findings: tuple[Finding, ...]
    sums: Sums
    amounts: str = ""
    shape: str = ""
    hosts: list[str] | None = None
    links: Sequence[str] = ()
    # Pictures within its HTML or Markdown, which are no attachments.
    has_pictures: bool = False

    @property
    def is_unsafe(self) -> bool:
        """Whether the parser was killed over it, so that only its source is known."""
        return self.shown.doubt == NOT_SAFE


def examine_content(content: Content) -> Examined:
    """Return what the parser finds in a content; only its source if the parser was
    killed over it. Raises ParserUnavailable.
    """
    try:
        stored = ask_parser("examine_content", asdict(content))
    except ParserKilled:
        return unexamined(content)
    shown = RenderedMessage.from_json(stored.pop("shown"))
    findings = tuple(map(restored, stored.pop("findings")))
    return Examined(shown, findings=findings, sums=Sums(**stored.pop("sums")), **stored)


def unexamined(content: Content) -> Examined:
    """Return the result for a content that cannot be read safely: its HTML source
    serves as its text, and its sums are not known.
    """
    return Examined(
        shown=render_source(content, NOT_SAFE),
        words=content.html or "",
        findings=(not_read_safely("The message"),),
        sums=Sums(unread=("",)),
    )
