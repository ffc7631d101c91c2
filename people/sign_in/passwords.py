"""The password validator of the desk. It refuses passwords that zxcvbn finds easy to
guess: words, names, dates, keyboard rows and repetitions.

It requires no special characters or digits, and makes no network requests.
"""

import re
from typing import Any

from django.core.exceptions import ValidationError

# zxcvbn's estimate for twelve random characters: about 10 guesses for each.
MIN_GUESSES = 10**12
# In characters. zxcvbn refuses longer text; further characters do not weaken a
# password.
_MAX_JUDGED = 72
# Words that somebody who attacks this desk would try.
_OF_THE_DESK = """
    countersign countersigned multimail passwort passphrase reviewer admin
""".split()


class GuessablePasswordValidator:
    """Refuses passwords that need few guesses. The names of the person and of the desk
    count as known words.
    """

    def validate(self, password: str, user: Any = None) -> None:
        """Raise ValidationError; its message never contains part of the password."""
        # Imported late: its word lists need 13 MB, and most processes never check a
        # password.
        from zxcvbn import zxcvbn

        about_person = (
            f"{getattr(user, 'name', '')} {getattr(user, 'email', '')}".lower()
        )
        words = [word for word in re.split(r"[^\w]+|_", about_person) if len(word) > 2]
        judged = zxcvbn(password[:_MAX_JUDGED], user_inputs=[*_OF_THE_DESK, *words])
        if judged["guesses"] < MIN_GUESSES:
            raise ValidationError(
                "This password is easy to guess: it is a common word, a name or a row of keys with little added. Use "
                "several unrelated words.",
                code="password_guessable",
            )

    def get_help_text(self) -> str:
        """Return the help text of the password field."""
        return "At least 12 characters. Several unrelated words work best; digits and symbols are not needed."
