"""All rules, and likeness, take time in proportion to the length of what they read,
however hostile that is.
"""

import itertools
from dataclasses import replace

import pytest

from common.fingerprint import Attachment, Content
from rendering.render import parse_content
from risk import CHECKS, jobs
from risk.findings import RiskContext, run_checks
from risk.similarity import shape
from tests.linear import is_linear

KNOWN = RiskContext(
    own_domains=("yourteam.example",),
    known_addresses={
        f"p{number}@company{number:05}.example": 1 for number in range(500)
    },
    off_list=tuple(f"p{number}@off.example" for number in range(50)),
)
UNITS = [
    "password: ",
    "DE89 ",
    "4111 ",
    "eyJaaaaaaaaaaa.",
    "a@",
    "1.",
    "sk_live_",
    "://a:",
    "dr ",
    "Dear Anna ",
    "http://a.b/ ",
    "* ",
    "[x](http://é.b) ",
    "may # ",
    "a-",
    "x.y.",
    "ah@b.co ",
    "<",
    "1 234 ",
    "\u200b",
    "EUR ",
]
PARTS = {
    "text": lambda text: {"markdown": text},
    "html": lambda text: {"html": text, "markdown": "x"},
    "subject": lambda text: {"subject": text},
    "names": lambda text: {"sender_name": text, "to": (f"{text} <a@x.example>",)},
    "addresses": lambda text: {
        "to": (f"{text}@x.example", f"x@{text}.example"),
        "reply_to": text,
    },
}
CROWDS = {
    "people": lambda number: {
        "to": tuple(f"p{one}@d{one}.example" for one in range(number))
    },
    "files": lambda number: {
        "attachments": tuple(
            Attachment(f"a{one}.pdf.exe", "x", 1) for one in range(number)
        )
    },
    "secrets": lambda number: {
        "markdown": "".join(f"password: Xk{one:08}!pQ \n" for one in range(number))
    },
}


def shown(fields):
    """Return the message and how it is shown: what that costs is asked in
    test_rendering_message.py.
    """
    content = Content(**{"sender": "a@yourteam.example", **fields})
    return content, parse_content(content)


def judge(message):
    content, parsed = message
    context = replace(KNOWN, text_part=parsed.text_part)
    run_checks((*jobs.CHECKS, *CHECKS), content, parsed.shown, context)
    shape(content, parsed)


def is_linear_in(part, unit, length):
    """Whether so long a text in this part takes no more time than its length allows."""
    small, large = (
        shown(PARTS[part](unit * (one // len(unit)))) for one in (length // 8, length)
    )
    return is_linear(judge, small, large)


# Each unit in one part.
PAIRS = list(zip(itertools.cycle(PARTS), UNITS, strict=False))


@pytest.mark.slow
def test_rules_stay_linear():
    assert [pair for pair in PAIRS if not is_linear_in(*pair, 6_000)] == []


def test_rules_stay_linear_for_many_of_one_kind():
    crowds = {
        name: [shown(of(many)) for many in (60, 480)] for name, of in CROWDS.items()
    }
    assert [
        name
        for name, (small, large) in crowds.items()
        if not is_linear(judge, small, large)
    ] == []
