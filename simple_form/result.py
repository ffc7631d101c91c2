"""The dataclasses that `simplify` returns: the simple form of a message, and what it
does not take over from the original.
"""

from dataclasses import dataclass

# What a change is about. Words that a style hides and that are removed; the same at the
# beginning, which lists of messages show beside the subject; words that are hidden by
# their colour or by a style sheet, and are kept in sight; words of a part that is left
# out, and are seen by some recipients only; anything else that may look different.
HIDDEN = "hidden"
PREHEADER = "preheader"
SHOWN = "shown"
LEFT_OUT = "left_out"
LOOK = "look"
# Of these, recipients do not see words that the original has.
HIDING = frozenset({HIDDEN, SHOWN})
_SENTENCES = {
    HIDDEN: "Removed, because it is hidden ({how}): “{passage}”.",
    PREHEADER: "Removed, because only lists of messages show it ({how}): “{passage}”.",
    SHOWN: "Shown, although the original hides it ({how}): “{passage}”.",
    LEFT_OUT: "Left out ({how}): “{passage}”.",
    LOOK: "The layout was simplified: {how}.",
}


class TooComplex(Exception):
    """The HTML is too large or ambiguous. The text says why, for people."""


@dataclass(frozen=True)
class Change:
    """Something of the original that the simple form does not have, or has otherwise.

    `code` is one of the constants above, `how` is what the original has, such as
    "display: none", and `passage` the words concerned; empty for LOOK.
    """

    code: str
    how: str = ""
    passage: str = ""

    def sentence(self) -> str:
        """Return the change as a sentence for people."""
        return _SENTENCES[self.code].format(how=self.how, passage=self.passage)


@dataclass(frozen=True)
class SimpleForm:
    """The result: `html` can be sent, `marked` is for the desk to draw.

    `marked` is the same HTML with `<ins data-change="3">` around or in place of the
    words that a change is about (its index in `changes`), and with `data-labels`, the
    titles of an element. `loads` has the addresses that the original loads anything
    from, other than the pictures that are written. `is_exact` if all of the original is written as it is: the same
    elements and values, and nothing else.
    """

    html: str
    marked: str
    changes: tuple[Change, ...] = ()
    loads: tuple[str, ...] = ()
    is_exact: bool = False
