"""How a command ends that cannot be carried out. Every sentence is for the person who gave it, ready for Discord."""


class CommandRefused(Exception):
    """It cannot be done as it was given. `why` is a word for the log and the ledger."""

    def __init__(self, sentence: str, *, why: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.why = why


class TryAgain(Exception):
    """Not now. `may_have_left` is whether MultiMail may have taken it all the same; the same key makes trying safe."""

    def __init__(self, sentence: str, *, seconds: float | None = None, may_have_left: bool = False) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.seconds = seconds
        self.may_have_left = may_have_left
