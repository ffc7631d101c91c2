"""Renders hostile mail safely: `render_message` and what it returns. Knows no models,
no network, no state.

`parsed.py` has it done by the parser, in a process of its own. There start with
`render.py`: `simple_form` turns the HTML into its simple form, `marking.py` walks that
and puts our marks in, and `render.py` seals what the frame gets.
"""

from rendering.invisibles import found_in, named, stripped
from rendering.parsed import parse_content, render_message, unparsed_content
from rendering.result import (
    Difference,
    Link,
    ParsedContent,
    RemotePicture,
    RenderedMessage,
)

__all__ = [
    "Difference",
    "Link",
    "ParsedContent",
    "RemotePicture",
    "RenderedMessage",
    "found_in",
    "named",
    "parse_content",
    "render_message",
    "stripped",
    "unparsed_content",
]
