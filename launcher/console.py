"""Prints lines and errors for the person at the terminal."""

import contextlib
import sys


class LaunchError(Exception):
    """An error that stops the launcher. Its text says what is wrong and what to do; the
    person never sees a traceback. `details`: output to print before it.
    """

    def __init__(self, sentence: str, *, details: str = "", status: int = 1) -> None:
        super().__init__(sentence)
        self.details = details
        self.status = status


def say(text: str = "") -> None:
    """Prints a line at once. Does nothing if the output is closed."""
    with contextlib.suppress(OSError, ValueError):
        print(text, flush=True)


def complain(error: LaunchError) -> None:
    """Prints an error: the details first, so that the sentence is the last line."""
    with contextlib.suppress(OSError, ValueError):
        if error.details:
            print(error.details.rstrip(), file=sys.stderr)
        print(str(error), file=sys.stderr, flush=True)
