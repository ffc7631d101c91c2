"""Writes docs/permissions.md from the doors that the tests walk through.

    ./run test tests/integration/test_permissions.py --write-permissions

It is written only when the whole walk ran and nobody got through a door that is not theirs.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TABLE = Path(__file__).resolve().parent.parent / "docs" / "permissions.md"
WALK = "tests/integration/test_permissions.py"
_HEAD = """# Who may do what

Roles are given for everything, for a connection, or for one mailbox. A **reviewer** decides, an **admin** sets the
desk up, an **auditor** looks everything up. What is outside somebody's reach does not exist for them (404); what they
see and may not do is refused with a sentence (403). "Confirms" marks what asks to prove once more who one is, where
that was more than ten minutes ago.

These lines are written by the test that goes through each address as everybody: signed out, without a role, with each
role for everything, for the connection, for the mailbox, and for another connection. An address without a line fails
it. `./run test tests/integration/test_permissions.py --write-permissions`

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
        whole = before + re.sub(r"<\w+:(\w+)>", r"<\1>", str(pattern.pattern))
        if hasattr(pattern, "url_patterns"):
            yield from addresses(pattern, whole)
        else:
            yield str(pattern.name), whole


def text() -> str:
    """Return the page."""
    from tests.doors import DOORS, TASKS

    paths = dict(addresses())
    lines = [
        f"| `{paths[name]}` | {door.does} | {door.who} | {'yes' if door.sure else ''} |\n"
        for name, door in DOORS.items()
    ]
    return (
        _HEAD + _DOORS + "".join(lines) + _TASKS + "".join(f"| `{name}` | {does} |\n" for name, does in TASKS.items())
    )


class Writer:
    """Sees how the walk ends, and writes the page."""

    def __init__(self) -> None:
        self._walked, self._failed = 0, 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.nodeid.startswith(WALK) and report.when == "call" and "document" not in report.nodeid:
            self._walked += 1
            self._failed += report.failed

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        from tests.doors import DOORS

        if self._failed or self._walked < len([one for one in DOORS.values() if one.reach != "public"]):
            terminalreporter.write_line("docs/permissions.md was not written: the walk did not pass whole.", red=True)
            return
        TABLE.write_text(text())
        terminalreporter.write_line(f"docs/permissions.md tells of {len(DOORS)} addresses.")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-permissions", action="store_true", help="write docs/permissions.md after the walk")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--write-permissions") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Writer())
