"""What can go wrong when people are looked after; each error carries a sentence for the person."""


class PeopleError(Exception):
    """Root of this app's errors; `sentence` is for people."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class NotYours(PeopleError):
    """The actor's roles do not reach this person, or this role."""


class LastAdmin(PeopleError):
    """Nobody would be left who may look after everything."""


class LinkNotGood(PeopleError):
    """A one-time link that is used, withdrawn, past its time, or was never made: which of them is not told."""


class WrongPerson(PeopleError):
    """A link that is good, for somebody else."""


class LinkedElsewhere(PeopleError):
    """The Discord account belongs to another person of the desk."""


class FactorNotAllowed(PeopleError):
    """A second factor cannot be added, taken off or asked of a role like this."""


class CodeNotRight(PeopleError):
    """A code is not the one that the app shows, or was used before."""
