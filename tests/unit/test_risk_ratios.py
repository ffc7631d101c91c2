"""All rules, and likeness, take time in proportion to the length of what they read, however hostile that is."""

import time

import pytest

from approvals.risk import RiskContext, find_risks
from approvals.risk.likeness import bands, shape
from approvals.showing import show_letter
from common.fingerprint import Attachment, Content

KNOWN = RiskContext(
    own_domains=("yourteam.example",),
    known_addresses={f"p{number}@company{number:05}.example": 1 for number in range(500)},
    off_list=tuple(f"p{number}@off.example" for number in range(50)),
)
UNITS = [
    *("password: ", "DE89 ", "4111 ", "eyJaaaaaaaaaaa.", "a@", "1.", "sk_live_", "://a:", "dr ", "Dear Anna "),
    *("http://a.b/ ", "* ", "[x](http://é.b) ", "may # ", "a-", "x.y.", "ah@b.co ", "<", "1 234 ", "\u200b", "EUR "),
]
PLACES = {
    "text": lambda text: {"markdown": text},
    "html": lambda text: {"html": text, "markdown": "x"},
    "subject": lambda text: {"subject": text},
    "names": lambda text: {"sender_name": text, "to": (f"{text} <a@x.example>",)},
    "addresses": lambda text: {"to": (f"{text}@x.example", f"x@{text}.example"), "reply_to": text},
}
CROWDS = {
    "people": lambda number: {"to": tuple(f"p{one}@d{one}.example" for one in range(number))},
    "named people": lambda number: {"to": tuple(f"a{one}@x.example <b{one}@y.example>" for one in range(number))},
    "odd people": lambda number: {"to": tuple(f"a@gооgle{one}.example" for one in range(number))},
    "labels": lambda number: {"to": (f"x@{'a.' * number * 10}example",)},
    "replies": lambda number: {"reply_to": ",".join(f"p{one}@d{one}.example" for one in range(number))},
    "files": lambda number: {"attachments": tuple(Attachment(f"a{one}.pdf.exe", "x", 1) for one in range(number))},
    "secrets": lambda number: {"markdown": "".join(f"password: Xk{one:08}!pQ \n" for one in range(number))},
    "cards": lambda number: {"markdown": "4111111111111111 DE89370400440532013000 " * number},
}


def seconds(fields):
    """The time that the rules take for a letter, best of two: what else the machine does is not theirs."""
    content = Content(**{"sender": "a@yourteam.example", **fields})
    shown = show_letter(content)

    def once():
        started = time.process_time()
        find_risks(content, shown, KNOWN)
        shape(content)
        bands(content)
        return time.process_time() - started

    return min(once(), once())


def check_linear(small, large):
    """Ten times as much takes at most thirty times as long; what is quadratic takes a hundred times."""
    assert seconds(large) <= 30 * max(seconds(small), 0.002)


@pytest.mark.proves("security 38")
@pytest.mark.parametrize("place", PLACES)
def test_rules_stay_linear(place):
    for unit in UNITS:
        check_linear(*(PLACES[place](unit * (length // len(unit))) for length in (2_000, 20_000)))


@pytest.mark.proves("security 38")
@pytest.mark.parametrize("crowd", CROWDS)
def test_rules_stay_linear_for_many_of_one_kind(crowd):
    check_linear(*map(CROWDS[crowd], (200, 2_000)))


@pytest.mark.proves("security 38")
@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("unit", UNITS)
def test_a_megabyte_takes_seconds(place, unit):
    check_linear(*(PLACES[place](unit * (length // len(unit))) for length in (100_000, 1_000_000)))
