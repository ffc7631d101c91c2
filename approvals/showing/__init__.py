"""How a hostile letter is shown safely: `show_letter` and what it returns. No models, no network, no state."""

from approvals.showing.invisibles import found_in, named, stripped
from approvals.showing.letter import show_letter
from approvals.showing.shown import Blocked, Hidden, Link, ReorderedText, ShownLetter

__all__ = ["Blocked", "Hidden", "Link", "ReorderedText", "ShownLetter", "found_in", "named", "show_letter", "stripped"]
