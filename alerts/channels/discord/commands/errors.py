"""How a command ends that cannot be carried out. Every sentence is for the person who gave it, ready for Discord."""


class CommandRefused(Exception):
    """It cannot be done as it was given. `why` is a word for the log and the ledger.

    `may_have_left` is whether MultiMail may have taken it all the same.
    """

    def __init__(self, sentence: str, *, why: str, may_have_left: bool = False) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.why = why
        self.may_have_left = may_have_left


class TryAgain(Exception):
    """Not now; the same key makes trying safe. `seconds` where MultiMail asked to wait."""

    def __init__(self, sentence: str, *, seconds: float | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.seconds = seconds
