"""What can go wrong when alerts are set up; each error carries a sentence for people."""


class AlertsError(Exception):
    """Root of this app's errors."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class DestinationNotAllowed(AlertsError):
    """Whoever asks may not change where alerts go."""


class DestinationMissing(AlertsError):
    """The destination was removed in the meantime."""


class SecretStillValid(AlertsError):
    """The secret before the present one still signs."""


class ChannelInUse(AlertsError):
    """What began in that channel is answered by another destination."""


class RouteExists(AlertsError):
    """A route for the same events at the same place exists."""


class RouteMissing(AlertsError):
    """The route was removed in the meantime."""


class NotResent(AlertsError):
    """There is nowhere to send it, or it is sent anyway."""
