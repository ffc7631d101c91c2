"""Writes docs/permissions.md from the doors that `tests/integration/test_permissions.py` walks through."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TABLE = Path(__file__).resolve().parent.parent / "docs" / "permissions.md"
_HEAD = """# Who may do what

Roles are given for everything, for a connection, or for one mailbox. A **reviewer** decides, an **admin** sets the
desk up, an **auditor** looks everything up. What is outside somebody's reach does not exist for them (404); what they
see and may not do is refused with a sentence (403). "Confirms" marks what asks to prove once more who one is, where
that was more than ten minutes ago.

A test goes through each address as somebody who may and somebody who may not, and with `--all` as everybody: signed
out, without a role, with each role for everything, for the connection, for the mailbox, and for another connection. An
address without a line here fails it: `./run test --all tests/integration/test_permissions.py`

"""
_DOORS = "## Pages and buttons\n\n| address | what it does | who may | confirms |\n|---|---|---|---|\n"
_TASKS = """
## What works by itself

Workers act for nobody. What a person decided they carry out only while that person still may, and while the ruling
still carries it; each of these was tried with decisions that do not hold any more, and none left.

| task | what it does |
|---|---|
"""


def addresses(resolver: Any = None, before: str = "/") -> Iterator[tuple[str, str]]:
    """Return the name of every address of the desk, and how it is written whole."""
    from django.urls import get_resolver

    for pattern in (resolver or get_resolver()).url_patterns:
        whole = before + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            yield from addresses(pattern, whole)
        else:
            yield str(pattern.name), whole


def text() -> str:
    """Return the page."""
    from tests.doors import DOORS, TASKS

    paths = {name: re.sub(r"<\w+:(\w+)>", r"<\1>", path) for name, path in addresses()}
    lines = [
        f"| `{paths[name]}` | {door.does} | {door.who} | {'yes' if door.sure else ''} |\n"
        for name, door in DOORS.items()
    ]
    return (
        _HEAD + _DOORS + "".join(lines) + _TASKS + "".join(f"| `{name}` | {does} |\n" for name, does in TASKS.items())
    )
