"""The simple form of a message: plain values."""

from dataclasses import dataclass


class TooComplex(Exception):
    """The HTML cannot be simplified within bounds. The text is a reason for people."""


@dataclass(frozen=True)
class Change:
    """What the simple form leaves out or changes.

    `how` is what the original has, such as "display: none", and `does` what that may do
    to the words in `passage`, such as "hide it". Both are empty where it changes only
    the look; `how` then lists what was left out.
    """

    how: str
    does: str = ""
    passage: str = ""
    # Words at the beginning that are hidden in the message and shown in lists of
    # messages, as newsletters have them.
    is_preheader: bool = False

    @property
    def concerns_words(self) -> bool:
        """Whether the original could hide, cover, cut off, move or add words."""
        return bool(self.does)

    def sentence(self) -> str:
        """Say it to people."""
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
    """`html` is what can be sent. `marked` is the same with `data-change` on each
    element that a change is about.

    Its value are numbers in `changes`, with blanks between. Further attributes in it:
    `data-labels` with the titles of an element, and `data-place` on what stands for
    something that was left out.
    """

    html: str
    marked: str
    changes: tuple[Change, ...] = ()
