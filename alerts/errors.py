"""What can go wrong when alerts are set up; each error carries a sentence for people."""

from common.errors import SentenceError


class AlertsError(SentenceError):
    """Root of this app's errors."""


class DestinationNotAllowed(AlertsError):
    """Whoever asks may not change where alerts go."""


class DestinationMissing(AlertsError):
    """The destination was removed in the meantime."""


class SecretStillValid(AlertsError):
    """The secret before the present one still signs."""


class ChannelInUse(AlertsError):
    """Another destination answers commands from this channel."""


class RouteExists(AlertsError):
    """A route for the same events and the same scope exists."""


class RouteMissing(AlertsError):
    """The route was removed in the meantime."""


class NotResent(AlertsError):
    """There is nowhere to send it, or it is sent anyway."""
