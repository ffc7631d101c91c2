"""What somebody copied of a fingerprint, or typed of it, as the beginnings in hex that it can stand for. Pure."""

import re

from common.identifiers import CROCKFORD

# Fewer characters would find anything.
LEAST = 4
_HEX = re.compile(r"[0-9a-f]{1,64}")
# Letters that people write for digits that look alike.
_MEANT = str.maketrans("ILO", "110")


def in_one_spelling(asked: str) -> str:
    """Return the short form in capitals, hex in small letters. Raises ValueError for what is neither."""
    text = "".join(asked.split())
    if len(text) >= LEAST and _HEX.fullmatch(text.lower()):
        return text.lower()
    short = text.upper().translate(_MEANT).strip("-")
    digits = short.replace("-", "")
    if not LEAST <= len(digits) <= 12 or digits.strip(CROCKFORD):
        raise ValueError(asked)
    return "-".join(digits[start : start + 4] for start in range(0, len(digits), 4))


def beginnings(written: str) -> list[str]:
    """Return with which hex digits the fingerprints begin that are meant: `7f3a` can be either form."""
    found = [written] if _HEX.fullmatch(written) else []
    digits = written.upper().replace("-", "")
    if len(digits) <= 12 and not digits.strip(CROCKFORD):
        found += _of_short(digits)
    return found


def _of_short(digits: str) -> list[str]:
    """Five bits a digit and four a hex digit: the last of those may be known in part, which leaves a few."""
    value = sum(CROCKFORD.index(digit) << (5 * place) for place, digit in enumerate(reversed(digits)))
    whole, rest = divmod(5 * len(digits), 4)
    if not rest:
        return [f"{value:0{whole}x}"]
    spare = 4 - rest
    return [f"{(value << spare) + end:0{whole + 1}x}" for end in range(1 << spare)]
