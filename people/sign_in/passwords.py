"""Refuses passwords that are easy to guess, as zxcvbn estimates it: words, names, dates, rows of keys and repetitions.

There is no rule of how many signs or digits a password needs, and nobody is asked over the network.
"""

import re
from typing import Any

from django.core.exceptions import ValidationError

# As many as twelve characters of which nothing is known: less is easier to guess than its length promises.
MIN_GUESSES = 10**12
# zxcvbn estimates no longer text; what comes after makes a password no worse.
_MAX_JUDGED = 72
_OF_THE_DESK = ("countersign", "countersigned", "multimail", "passwort", "passphrase", "reviewer", "admin")


class GuessablePasswordValidator:
    """Refuses what needs few guesses, with the names of the person and of the desk among the words that are known."""

    def validate(self, password: str, user: Any = None) -> None:
        """Raise ValidationError with a sentence; it repeats nothing of the password."""
        # Its lists of words need 13 MB, and most processes never judge a password.
        from zxcvbn import zxcvbn

        known = f"{getattr(user, 'name', '')} {getattr(user, 'email', '')}".lower()
        words = [word for word in re.split(r"[^\w]+|_", known) if len(word) > 2]
        if zxcvbn(password[:_MAX_JUDGED], user_inputs=[*_OF_THE_DESK, *words])["guesses"] < MIN_GUESSES:
            raise ValidationError(
                "This password is easy to guess: it is a known word, a name or a row of keys with little added. "
                "Take several words that do not belong together.",
                code="password_guessable",
            )

    def get_help_text(self) -> str:
        """Return what people are told before they choose one."""
        return "At least 12 characters. Several words that do not belong together are best; no sign or digit is needed."
