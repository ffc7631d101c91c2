"""Reads and writes files of secrets. Only their owner can read them, and they are
replaced as a whole. Credentials are shell assignments (NAME=value), which scripts,
tests and people can all read.
"""

import os
import re
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path

_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")


def read_credentials(path: Path) -> dict[str, str]:
    """Return the assignments in the file, in their order; empty if there is no such
    file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    matches = (_ASSIGNMENT.fullmatch(line.strip()) for line in text.splitlines())
    return {match[1]: "".join(shlex.split(match[2])) for match in matches if match}


def write_credentials(
    path: Path, values: Mapping[str, str], *, about: str = ""
) -> None:
    """Replace the file by these assignments, with the text `about` above them."""
    lines = [f"{name}={shlex.quote(value)}\n" for name, value in values.items()]
    replace_private(path, about + "".join(lines))


def replace_private(path: Path, text: str) -> None:
    """Replace the file by one with this text, which only its owner can read (mode 600).
    A reader sees the old file or the new one, never half of one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Made with mode 600 from the start, in the same folder, so that the rename is
    # atomic.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def update_credentials(path: Path, values: dict[str, str]) -> None:
    """Add `values` to the file, or replace those with the same name."""
    write_credentials(path, read_credentials(path) | values)
