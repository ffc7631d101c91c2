"""What can go wrong when alerts are set up; each error carries a sentence for people."""

from common.errors import SentenceError


class DestinationMissing(SentenceError):
    """The destination, or its route, was removed in the meantime."""

    status = 404


class NotChanged(SentenceError):
    """The change contradicts what is stored; its form shows the sentence again."""
