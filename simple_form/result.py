"""The dataclasses that `simplify` returns: the simple form of a message, and what it
changes of the original.
"""

from dataclasses import dataclass


class TooComplex(Exception):
    """The HTML is too large or ambiguous. The text says why, for people."""


@dataclass(frozen=True)
class Change:
    """Something that the simple form leaves out or changes.

    `how` is what the original has, such as "display: none", and `does` what that may do
    to the words in `passage`, such as "hide it". If it changes only the look, `does`
    and `passage` are empty.
    """

    how: str
    does: str = ""
    passage: str = ""
    # Whether it hides words at the beginning of the message that inboxes show next to
    # its subject, as newsletters do.
    is_preheader: bool = False

    def sentence(self) -> str:
        """Return the change as a sentence for people."""
        if self.is_preheader:
            return f"“{self.passage}” is hidden in the original, and shown in lists of messages ({self.how})."
        if not self.does:
            return f"Left out, which changes only the look: {self.how}."
        if not self.passage:
            return f"A part without words could {self.does.replace(' it', ' words')} ({self.how})."
        what = self.does.replace(" it", f" “{self.passage}”")
        return (
            f"The original could {what} ({self.how})."
            if what != self.does
            else (f"The original could {self.does} at “{self.passage}” ({self.how}).")
        )


@dataclass(frozen=True)
class SimpleForm:
    """The result: `html` can be sent, `marked` is for the desk to draw.

    `marked` is the same HTML with `data-change` on each element that a change is about:
    indexes in `changes`, with spaces between. An empty `<ins>` with that attribute
    stands for something left out. `data-labels` has the titles of an element.
    """

    html: str
    marked: str
    changes: tuple[Change, ...] = ()
