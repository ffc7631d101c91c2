"""What can come of one attempt to tell a destination something, whatever its kind. Senders return or raise these."""

from dataclasses import dataclass


class _Refused(Exception):
    def __init__(self, sentence: str, *, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


class DestinationGone(_Refused):
    """The webhook does not exist any more, or may not post: trying again only counts as abuse."""


class CardGone(_Refused):
    """Somebody deleted the card."""


class CardRefused(_Refused):
    """Discord does not accept this card; the same one never will be."""


class Later(Exception):
    """Not now: `seconds` is how long to wait; `asked` where Discord said so itself."""

    def __init__(self, sentence: str, *, seconds: float | None = None, status: int | None = None) -> None:
        super().__init__(sentence)
        self.seconds = seconds
        self.status = status


@dataclass(frozen=True)
class Posted:
    """A card that Discord took."""

    message_id: str
    status: int


@dataclass(frozen=True)
class Tried:
    """What came of a test: whether Discord took it, and a sentence for whoever asked."""

    took: bool
    sentence: str
