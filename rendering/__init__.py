"""Hostile mail shown safely: `show_letter` and what it returns.

Pure: no models, no network, no state. Start with `letter.py`.
"""

from rendering.invisibles import found_in, named, stripped
from rendering.render import show_letter
from rendering.result import Blocked, Hidden, Link, ReorderedText, ShownLetter

__all__ = ["Blocked", "Hidden", "Link", "ReorderedText", "ShownLetter", "found_in", "named", "show_letter", "stripped"]
