"""Makes the text of docs/permissions.md from the table of doors in tests/doors.py,
which `tests/integration/test_permissions.py` checks.
"""

import re
from pathlib import Path

TABLE = Path(__file__).resolve().parent.parent / "docs" / "permissions.md"
_HEAD = """# Who may do what

Roles are given for everything, for a connection, or for one mailbox. A **reviewer** decides, an **admin** sets up the
desk, an **auditor** reads everything. What is outside somebody's scope answers 404, as if it did not exist; what they
see but may not do is refused with a sentence (403). "Confirms" marks actions that ask for reauthentication if the last
one was more than ten minutes ago.

A test visits each address as somebody who may and somebody who may not, and with `--all` as everybody: signed out,
without a role, with each role for everything, for the connection, for the mailbox, and for another connection. An
address without a line here fails it: `./run test --all tests/integration/test_permissions.py`

"""
_TASKS = """
## Background tasks

Workers act for nobody. They carry out a person's decision only while that person still may decide and the ruling still
allows it; a test tries each task with decisions that are not allowed any more, and none is sent.

| task | what it does |
|---|---|
"""


def addresses(resolver=None, before="/"):
    """Yield the name and the whole path pattern of every address of the desk."""
    from django.urls import get_resolver

    for pattern in (resolver or get_resolver()).url_patterns:
        whole = before + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            yield from addresses(pattern, whole)
        else:
            yield str(pattern.name), whole


def text():
    """Return the text of docs/permissions.md."""
    from tests.doors import DOORS, TASKS

    paths = {name: re.sub(r"<\w+:(\w+)>", r"<\1>", path) for name, path in addresses()}
    lines = [
        f"| `{paths[name]}` | {door.does} | {door.who} | {'yes' if door.sure else ''} |\n"
        for name, door in sorted(DOORS.items(), key=lambda one: paths[one[0]])
    ]
    return (
        _HEAD
        + "## Pages and buttons\n\n| address | what it does | who may | confirms |\n|---|---|---|---|\n"
        + "".join(lines)
        + _TASKS
        + "".join(f"| `{name}` | {task.does} |\n" for name, task in TASKS.items())
    )
