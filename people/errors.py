"""Errors of this app; each carries a sentence for the person who asked."""


class PeopleError(Exception):
    """Root of this app's errors; `sentence` is for people."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class NotYours(PeopleError):
    """The actor is no admin of what this person, or this role, is for."""


class LastAdmin(PeopleError):
    """Nobody would be left who is an admin of everything."""


class LinkNotGood(PeopleError):
    """A one-time link that is used, withdrawn, expired, or was never made: it does not say which."""


class WrongPerson(PeopleError):
    """A link that works, but for somebody else."""


class LinkedElsewhere(PeopleError):
    """The Discord account belongs to another person of the desk."""


class FactorNotAllowed(PeopleError):
    """A second factor cannot be added, taken off or asked of a role like this."""


class CodeNotRight(PeopleError):
    """A code is not the one that the app shows, or was used before."""
