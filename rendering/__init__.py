"""Renders hostile mail safely: `render_message` and what it returns. Knows no models, no network, no state.

`parsed.py` has it done by the parser, in a process of its own. There start with `render.py`: `canonical.py` rewrites
the HTML into a form with one meaning, `marking.py` walks it and puts our marks in, `sanitise.py` seals what the frame
gets.
"""

from rendering.invisibles import found_in, named, stripped
from rendering.parsed import parse_content, render_message, unparsed_content
from rendering.result import (
    Blocked,
    FetchedPicture,
    Hidden,
    Link,
    ParsedContent,
    RemotePicture,
    RenderedMessage,
    ReorderedText,
)

__all__ = [
    "Blocked",
    "FetchedPicture",
    "Hidden",
    "Link",
    "ParsedContent",
    "RemotePicture",
    "RenderedMessage",
    "ReorderedText",
    "found_in",
    "named",
    "parse_content",
    "render_message",
    "stripped",
    "unparsed_content",
]
