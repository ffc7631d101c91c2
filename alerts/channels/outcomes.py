"""What can come of one attempt to tell a destination something, whatever its kind. Senders return or raise these."""

from dataclasses import dataclass


class _Refused(Exception):
    def __init__(self, sentence: str, *, status: int | None = None, answer: str = "") -> None:
        super().__init__(sentence)
        self.status = status
        self.answer = answer


class DestinationGone(_Refused):
    """The destination does not exist any more, or takes nothing from us: trying again only counts as abuse."""


class CardGone(_Refused):
    """Somebody deleted the card."""


class CardRefused(_Refused):
    """This body is not accepted; the same one never will be."""


class Later(Exception):
    """Not now. `seconds` is how long everything waits that goes there, where somebody said so: the destination, or
    our own count of its limit. Without it something failed, and `status` is what it answered, if anything.

    With `everywhere` all of Discord asked to wait.
    """

    def __init__(
        self,
        sentence: str,
        *,
        seconds: float | None = None,
        status: int | None = None,
        answer: str = "",
        everywhere: bool = False,
    ) -> None:
        super().__init__(sentence)
        self.seconds = seconds
        self.status = status
        self.answer = answer
        self.everywhere = everywhere


@dataclass(frozen=True)
class Posted:
    """What a destination took: the id it gave, if it gives any, and its answer for the log.

    `rests` is how long it should be left alone now, where nobody can count for all workers; `channel` the id of the
    Discord channel that has the post.
    """

    message_id: str
    status: int
    answer: str = ""
    rests: float = 0.0
    channel: str = ""


@dataclass(frozen=True)
class Tried:
    """What came of a test: whether it was taken, and a sentence for whoever asked; in Discord, the channel's id."""

    took: bool
    sentence: str
    channel: str = ""
