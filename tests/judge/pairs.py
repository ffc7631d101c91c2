"""Reads new_pairs.txt: parts of messages that say different things. A message has HTML
and text, or a Markdown body, whose source is its text part.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from common.fingerprint import Content

PATH = Path(__file__).parent / "new_pairs.txt"
_FIELD = re.compile(r"^--- (html|text|markdown)\n", re.MULTILINE)


@dataclass(frozen=True)
class Pair:
    """What differs in a message, and the message."""

    name: str
    content: Content


def read_pairs():
    return [_read_pair(entry) for entry in PATH.read_text().split("=====\n")]


def _read_pair(entry):
    name, *fields = _FIELD.split(entry)
    bodies = {}
    for kind, body in zip(fields[::2], fields[1::2], strict=True):
        bodies[kind] = body.rstrip("\n")
    text = bodies.get("text", bodies.get("markdown"))
    content = Content(html=bodies.get("html"), markdown=text)
    return Pair(name.removeprefix("# ").strip(), content)
