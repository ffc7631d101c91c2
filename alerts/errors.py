"""What can go wrong when alerts are set up; each error carries a sentence for the person."""


class AlertsError(Exception):
    """Root of this app's errors; `sentence` is for people."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class DestinationNotAllowed(AlertsError):
    """Whoever asks may not change where alerts go."""


class DestinationMissing(AlertsError):
    """The destination was removed in the meantime."""


class SecretStillTaken(AlertsError):
    """An earlier change of the secret is not over."""


class ChannelTaken(AlertsError):
    """What began in that channel is answered by another destination."""


class RouteThere(AlertsError):
    """There is a route that tells of the same at the same place."""


class RouteMissing(AlertsError):
    """The route was removed in the meantime."""
