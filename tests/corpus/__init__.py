"""Reads the corpus of hostile mails: files with an email body, and what its rendering
must and must not have. README.md says how a file is written.
"""

from dataclasses import dataclass, field
from pathlib import Path

from common.fingerprint import Content

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Mail:
    """One file of the corpus: its body, and the lines before it by name."""

    name: str
    body: str
    expected: dict[str, list[str]] = field(default_factory=dict)

    @property
    def content(self):
        if self.expected.get("part") == ["markdown"]:
            return Content(markdown=self.body)
        return Content(html=self.body)


def read_mail(path):
    head, _, body = path.read_text(encoding="utf-8").partition("\n---\n")
    expected = {}
    for line in head.splitlines():
        name, _, value = line.partition(": ")
        expected.setdefault(name, []).append(value)
    if "repeat" in expected:
        body = body.rstrip("\n") * int(expected["repeat"][0])
    return Mail(path.stem, body, expected)


def all_mails():
    return [read_mail(path) for path in sorted(HERE.glob("*.mail"))]


@dataclass(frozen=True)
class Letter:
    """A letter by somebody who did not build the simple form. `harm` is what it is
    meant to do to words: hide, cover, move, cut, add, change or none.
    """

    name: str
    harm: str
    body: str


def all_letters():
    letters = []
    for path in sorted((HERE / "readers").glob("*.letter")):
        head, _, body = path.read_bytes().decode().partition("\n\n")
        harm = head.partition("\nharm: ")[2].partition("\n")[0]
        letters.append(Letter(path.stem, harm, body))
    return letters
