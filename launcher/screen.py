"""What the launcher prints. A terminal that has gone away must never stop it."""

import contextlib
import sys

from launcher.errors import LaunchError


def say(text: str = "") -> None:
    """Prints a line at once, and shrugs when nobody can read it any more."""
    with contextlib.suppress(OSError, ValueError):
        print(text, flush=True)


def complain(error: LaunchError) -> None:
    """Shows what went wrong: the details first, so that the sentence is the last thing read."""
    with contextlib.suppress(OSError, ValueError):
        if error.details:
            print(error.details.rstrip(), file=sys.stderr)
        print(str(error), file=sys.stderr, flush=True)
