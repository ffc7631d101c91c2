"""Errors of this app; each carries a sentence for the person who asked."""

from common.errors import SentenceError


class PeopleError(SentenceError):
    """Root of this app's errors; `sentence` is for people."""

    status = 403


class NotYours(PeopleError):
    """The actor may not make this change, in most cases because they are not an admin
    of all that it is about.
    """


class NoOtherAdmin(NotYours):
    """Nobody else could accept a change that waits."""

    status = 409


class ReasonNeeded(NotYours):
    """A change needs a reason that was not given."""

    status = 422


class NameTaken(PeopleError):
    """Another active person has this name."""

    status = 409


class LastAdmin(PeopleError):
    """The change would leave the desk without an admin of everything."""

    status = 409


class LinkNotGood(PeopleError):
    """A one-time link is used, withdrawn, expired or unknown; the error does not say
    which.
    """

    status = 409


class WrongPerson(PeopleError):
    """The link is valid, but for somebody else."""

    status = 409


class LinkedElsewhere(PeopleError):
    """The chat account cannot be linked to this account of the desk."""

    status = 409


class FactorNotAllowed(PeopleError):
    """A second factor cannot be added, removed or required in this way."""

    status = 409
