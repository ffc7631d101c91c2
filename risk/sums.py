"""Finds the sums of money that a text names, for rules that ask for more approvals above an amount. Pure.

In doubt it reads the larger number: 1.200 is one thousand two hundred.
"""

import re
from decimal import Decimal

_CODES = (
    "aed ars aud bgn brl cad chf clp cny cop czk dkk eur gbp hkd huf idr ils inr isk jpy kes krw mxn myr ngn nok nzd "
    "php pln ron rub sar sek sgd thb try twd uah usd vnd zar"
)
# A sign or word that several currencies share names none.
_SIGNS = {"€": "EUR", "£": "GBP", "₹": "INR", "$": "", "¥": ""}
_WORDS = {"euro": "EUR", "euros": "EUR", "rupees": "INR", "dollar": "", "dollars": "", "pound": "", "pounds": "",
          "franc": "", "francs": "", "franken": "", "kronor": "", "kroner": ""}  # fmt: skip
_TIMES = {"k": 3, "thousand": 3, "tausend": 3, "tsd": 3, "mio": 6, "million": 6, "millions": 6, "millionen": 6, "m": 6,
          "mn": 6, "bn": 9, "billion": 9, "billions": 9, "mrd": 9, "milliarden": 9}  # fmt: skip
# Blanks only part groups of three.
_NUMBER = r"(?<!\d)\d(?:[\d.,'’]|[ \u00a0\u202f](?=\d{3}(?!\d))){0,24}[-–]{0,2}"
_SCALE = rf"(?:[ \u00a0\u202f]?(?:{'|'.join(sorted(_TIMES, key=len, reverse=True))})\b\.?)?"
_MONEY = rf"(?:[$€£¥₹]|\b(?:{'|'.join((*_CODES.split(), *_WORDS))})\b)"
_BLANK = r"[ \u00a0\u202f]?"
_SUM = re.compile(rf"({_MONEY}){_BLANK}({_NUMBER})({_SCALE})|({_NUMBER})({_SCALE}){_BLANK}({_MONEY})", re.IGNORECASE)
_LARGEST = Decimal(10) ** 15


def largest_sums(text: str) -> dict[str, str]:
    """Return the largest sum that a text names in each currency, as a decimal text, by its code.

    By the empty code those whose currency is not certain, such as "$5". Sums that only words name are not found.
    """
    found: dict[str, Decimal] = {}
    for match in _SUM.finditer(text):
        money, number, scale = match.group(1, 2, 3) if match[1] else match.group(6, 4, 5)
        currency = _currency(money.lower())
        value = min(_number(number).scaleb(_TIMES.get(scale.strip(" .\u00a0\u202f").lower(), 0)), _LARGEST)
        found[currency] = max(value, found.get(currency, Decimal(0)))
    return {currency: f"{value:f}" for currency, value in sorted(found.items())}


def _currency(money: str) -> str:
    if money in _SIGNS:
        return _SIGNS[money]
    return _WORDS[money] if money in _WORDS else money.upper()


def _number(written: str) -> Decimal:
    """Return a number in the reading in which it is largest."""
    digits = "".join(one for one in written if one.isdecimal() or one in ".,")
    before, separator, after = _last_part(digits)
    # Three digits after a separator are a group, unless it is the second kind (1,200.500); a fraction has one.
    is_fraction = separator and separator not in before and (len(after) != 3 or ("," in before or "." in before))
    whole = re.sub(r"\D", "", before if is_fraction else digits)
    return Decimal(f"{whole or 0}.{re.sub(r'[^0-9]', '', after) or 0}") if is_fraction else Decimal(whole or 0)


def _last_part(digits: str) -> tuple[str, str, str]:
    at = max(digits.rfind("."), digits.rfind(","))
    return (digits[:at], digits[at], digits[at + 1 :]) if at >= 0 else (digits, "", "")
