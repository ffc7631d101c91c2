"""What makes a password easy to guess although it is long: one known word dressed up with a year and a sign.

There are no rules of how many signs or digits it needs. It is judged here, by a list that comes with Django and by what
is known of the person; nobody is asked over the network.
"""

import re
from functools import cache
from typing import Any

from django.contrib.auth.password_validation import CommonPasswordValidator
from django.core.exceptions import ValidationError

# So much has to be left when each known word counts as four characters and each run as one.
ENOUGH = 10
_WORD = 4
_LONGEST_WORD = 20
_SHORTEST_RUN = 3
# What comes after so many characters makes it no worse.
_JUDGED = 200
_OF_THE_DESK = ("countersign", "countersigned", "multimail", "password", "passwort", "passphrase", "reviewer", "admin")
_ROWS = (
    *("qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm", "wxcvbn"),
    *("1234567890", "0987654321", "abcdefghijklmnopqrstuvwxyz", "!@#$%^&*()", '!"§$%&/()='),
    *("1qaz2wsx3edc4rfv5tgb6yhn7ujm", "qazwsxedcrfvtgbyhnujm", "1q2w3e4r5t6y7u8i9o0p"),
)
_RUNS = (*_ROWS, *(row[::-1] for row in _ROWS))
_YEAR = re.compile(r"(?:19|20)\d\d")
# Digits and signs that stand for letters; "1" and "!" for two of them.
_AS_LETTERS = (str.maketrans("01!34@5$7+89", "oiieaassttbg"), str.maketrans("01!34@5$7+89", "olleaassttbg"))
_SENTENCE = (
    "This password is easy to guess: it is a known word, a name or a row of keys with little added. "
    "Take several words that do not belong together."
)


class GuessablePasswordValidator:
    """Refuses common words dressed up, rows of keys, what repeats, and the names of the person and of the desk."""

    def validate(self, password: str, user: Any = None) -> None:
        """Raise ValidationError with a sentence; it repeats nothing of the password."""
        if strength_of(password, personal=_personal(user)) < ENOUGH:
            raise ValidationError(_SENTENCE, code="password_guessable")

    def get_help_text(self) -> str:
        """Return what people are told before they choose one."""
        return "At least 12 characters. Several words that do not belong together are best; no sign or digit is needed."


def strength_of(password: str, *, personal: frozenset[str] = frozenset()) -> int:
    """Return how much of a password is not known: characters, with a known word as four and what is a run as one."""
    text = password.lower()[:_JUDGED]
    readings = [text, *(text.translate(letters) for letters in _AS_LETTERS)]
    place, worth, seen = 0, 0, set()
    while place < len(text):
        length, counts = _piece(text, readings, place, personal)
        piece = readings[1][place : place + length]
        # What stands there for the second time adds nothing.
        worth += counts if length == 1 or piece not in seen else 0
        seen.add(piece)
        place += length
    return min(worth, 2 * len(set(text)))


def _piece(text: str, readings: list[str], place: int, personal: frozenset[str]) -> tuple[int, int]:
    """Return how long the longest known piece at a place is, and what it counts; one character where there is none."""
    run = _run_at(text, place)
    own = max((_word_at(one, place, personal) for one in readings), default=0)
    word = max((_word_at(one, place, _common_words()) for one in readings), default=0)
    found = [(length, counts) for length, counts in ((run, 1), (own, 1), (word, _WORD)) if length]
    return max(found, key=lambda one: (one[0], -one[1]), default=(1, 1))


def _run_at(text: str, place: int) -> int:
    """Return how long a row of keys, a year or one character over and over is here; 0 for none."""
    same = len(text[place:]) - len(text[place:].lstrip(text[place]))
    year = 4 if _YEAR.match(text, place) else 0
    length = _SHORTEST_RUN
    while place + length <= len(text) and any(text[place : place + length] in row for row in _RUNS):
        length += 1
    row = length - 1 if length > _SHORTEST_RUN else 0
    longest = max(same, year, row)
    return longest if longest >= _SHORTEST_RUN else 0


def _word_at(text: str, place: int, words: frozenset[str]) -> int:
    lengths = range(min(_LONGEST_WORD, len(text) - place), 2, -1)
    return next((length for length in lengths if text[place : place + length] in words), 0)


@cache
def _common_words() -> frozenset[str]:
    """Return the words of Django's list of twenty thousand common passwords."""
    return frozenset(word for word in CommonPasswordValidator().passwords if len(word) >= _WORD and word.isalpha())


def _personal(user: Any) -> frozenset[str]:
    """Return the words that whoever knows the person tries first."""
    known = f"{getattr(user, 'name', '')} {getattr(user, 'email', '')}".lower()
    return frozenset({*_OF_THE_DESK, *(word for word in re.split(r"[^\w]+|_", known) if len(word) > 2)})
