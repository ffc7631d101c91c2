"""All rules, and likeness, take time in proportion to the number of what they read. For
their patterns tests/unit/test_patterns.py shows it.
"""

from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from common.fingerprint import Attachment, Content
from rendering.render import parse_content
from risk import CHECKS, jobs
from risk.findings import RiskContext, run_checks
from risk.similarity import shape
from tests.linear import is_linear

KNOWN = RiskContext(
    own_domains=frozenset({"yourteam.example"}),
    known_addresses={
        f"p{number}@company{number:05}.example": 1 for number in range(500)
    },
)
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
    "accents": lambda number: {
        "html": "<p>a</p>",
        "markdown": "a" + "\u0301\u0327" * 40 * number,
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


def test_rules_stay_linear_for_many_of_one_kind():
    crowds = {
        name: [shown(of(many)) for many in (60, 480)] for name, of in CROWDS.items()
    }
    assert [
        name
        for name, (small, large) in crowds.items()
        if not is_linear(judge, small, large)
    ] == []


REPEATED = ("word ", "a ", "w", "word\n", "1 ", "100 EUR ", "é ", "中")


def in_every_part(text):
    """Return a message that has this text in its subject and in both of its bodies."""
    return Content(subject=text[:998], markdown=text, html=f"<p>x {text}")


@pytest.mark.slow
def test_message_of_one_repeated_word_is_examined_in_linear_time():
    for word in REPEATED:
        small, large = (
            in_every_part((word * length)[:length]) for length in (2_000, 16_000)
        )
        assert is_linear(jobs.examine, small, large), word


def test_markdown_is_parsed_once_for_an_examination(monkeypatch):
    """The same text was parsed five times, which took most of the time of a message of
    short lines.
    """
    parsed = []
    parse = MarkdownIt.render

    def render(self, text, *args):
        parsed.append(text)
        return parse(self, text, *args)

    monkeypatch.setattr(MarkdownIt, "render", render)
    jobs.examine(Content(markdown="- one word, again and again\n" * 20))
    assert len(parsed) == 1
