"""What can go wrong when policy is changed; each error carries a sentence for the person."""


class PolicyError(Exception):
    """Root of this app's errors; `sentence` is for people."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class KillSwitchNotAllowed(PolicyError):
    """The actor's roles do not reach this scope, or the switch is in no state for this."""
