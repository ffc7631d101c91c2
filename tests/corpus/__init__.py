"""Reads the corpus: hostile mails, and letters by readers. Each file has a head of lines
such as `name: value`, and an email body. README.md says what a head means.
"""

from dataclasses import dataclass
from pathlib import Path

from common.fingerprint import Content

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Mail:
    """One file: its body, and the values of its head by name."""

    name: str
    body: str
    expected: dict[str, list[str]]

    @property
    def content(self):
        if self.expected.get("part") == ["markdown"]:
            return Content(markdown=self.body)
        return Content(html=self.body)


def read_mail(path, after_head):
    head, _, body = path.read_bytes().decode().partition(after_head)
    expected = {}
    for line in head.splitlines():
        name, _, value = line.partition(": ")
        expected.setdefault(name, []).append(value)
    if "repeat" in expected:
        body = body.rstrip("\n") * int(expected["repeat"][0])
    return Mail(path.stem, body, expected)


def all_mails():
    """Return the hostile mails, whose rendering must be as their heads say."""
    return [read_mail(path, "\n---\n") for path in sorted(HERE.glob("*.mail"))]


def all_letters():
    """Return letters by people who did not build the simple form. `harm` is what one is
    meant to do to words: hide, cover, move, cut, add, change or none.
    """
    paths = sorted((HERE / "readers").glob("*.letter"))
    return [read_mail(path, "\n\n") for path in paths]
