"""The one error of the launcher: a sentence for the person at the terminal, never shown as a traceback."""


class LaunchError(Exception):
    """Something that stops the launcher; its text says what, and what to do about it."""

    def __init__(self, sentence: str, *, details: str = "", status: int = 1) -> None:
        super().__init__(sentence)
        self.details = details
        self.status = status


class StopRequested(Exception):
    """A signal asked the launcher to stop; raised only at places where stopping is safe."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"signal {signum}")
        self.signum = signum
