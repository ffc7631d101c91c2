"""What can go wrong with the mirror; each error carries a sentence for people."""


class DeskError(Exception):
    """Root of the desk's errors; `sentence` is for people."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class InvalidTransition(DeskError):
    """A state machine was asked for a step that it does not have."""


class ActNotAllowed(DeskError):
    """This person's roles do not let them do this here."""


class ThreadMovedOn(DeskError):
    """Messages of the thread came after the draft, and the person did not confirm having read them."""
