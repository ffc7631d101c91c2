"""Turns hostile mail into something safe to look at (a `RenderedMessage`), without
database, network or stored state.

Callers use `parsed.py`, which sends a message's content to the parser, a confined
process. There `render.py` does the work: `simple_form` turns the HTML into its simple
form, `marking.py` draws that with the desk's marks, and `render.py` lets only listed
tags and attributes through to the frame that shows the message. `original.py` draws
what a browser makes of the original.
"""

from rendering.invisibles import found_in, named, stripped
from rendering.parsed import draw_original, render_message
from rendering.result import Link, ParsedContent, RemotePicture, RenderedMessage
