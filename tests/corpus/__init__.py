"""Reads the corpus: hostile mails, and letters by readers. Each file has a head of lines
such as `name: value`, and an email body. README.md says what a head means. Honest pairs
and letters of language models are in one file each.
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


def honest_pairs():
    """Return by name the contents whose HTML and text, or Markdown and what is made from
    it, say the same.
    """
    pairs = {}
    for name, body in _entries("honest_pairs.txt"):
        kind, _, rest = body.partition("\n")
        if kind == "--- markdown":
            pairs[name] = Content(markdown=rest)
        else:
            html, _, text = rest.partition("\n--- text\n")
            pairs[name] = Content(html=html, markdown=text)
    return pairs


def model_letters():
    """Return by name letters in Markdown as language models write them."""
    return {
        name: Content(markdown=body) for name, body in _entries("model_letters.txt")
    }


def _entries(file_name):
    for entry in (HERE / file_name).read_text().split("\n=====\n"):
        name, _, body = entry.partition("\n")
        yield name.removeprefix("# "), body
