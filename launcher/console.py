"""What the person at the terminal reads: the launcher's errors, and its lines."""

import contextlib
import sys


class LaunchError(Exception):
    """Something that stops the launcher; its text says what, and what to do about it.
    It is never a traceback.
    """

    def __init__(self, sentence: str, *, details: str = "", status: int = 1) -> None:
        super().__init__(sentence)
        self.details = details
        self.status = status


def say(text: str = "") -> None:
    """Prints a line at once; ignores a closed output."""
    with contextlib.suppress(OSError, ValueError):
        print(text, flush=True)


def complain(error: LaunchError) -> None:
    """Prints an error: the details first, so that the sentence is the last line."""
    with contextlib.suppress(OSError, ValueError):
        if error.details:
            print(error.details.rstrip(), file=sys.stderr)
        print(str(error), file=sys.stderr, flush=True)
