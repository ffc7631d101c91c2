"""Renders hostile mail safely: `render_message` and what it returns. Pure: no models, no network, no state.

Start with `render.py`: `canonical.py` rewrites the HTML into a form with one meaning, `marking.py` walks it and puts
our marks in, `sanitise.py` seals what the frame gets.
"""

from rendering.invisibles import found_in, named, stripped
from rendering.render import render_message
from rendering.result import (
    Blocked,
    FetchedPicture,
    Hidden,
    Link,
    RemotePicture,
    RenderedMessage,
    ReorderedText,
)

__all__ = [
    "Blocked",
    "FetchedPicture",
    "Hidden",
    "Link",
    "RemotePicture",
    "RenderedMessage",
    "ReorderedText",
    "found_in",
    "named",
    "render_message",
    "stripped",
]
