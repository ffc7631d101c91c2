"""Every address of the desk as a `Door`, by its URL name: what it does, who may use it,
and what a test posts to it. The tables are doors.txt and tasks.txt.

`tests/integration/test_permissions.py` visits each of them, and docs/permissions.md is
written from this table.
"""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs

from common.actors import Role

R = Role.REVIEWER
A = Role.ADMIN
U = Role.AUDITOR
EVERYBODY = (R, A, U)
# How docs/permissions.md names where a role must be given.
_REACH_TEXT = {
    "own": "",
    "mailbox": " of the mailbox",
    "connection": " of the connection",
    "some connection": " of a connection",
    "desk": " of everything",
}


@dataclass
class Door:
    """One address. People with one of `roles` may use it, depending on `reach`:

    - public: anybody who knows the address; host: programs on the same host, or with a
      token;
    - own: anybody signed in, for themselves alone; if it `covers` a mailbox, only with a
      role for that;
    - mailbox, connection: people with a role for the mailbox or connection of the row, or
      for what contains it; others must not learn that the row exists (404);
    - some connection: people with a role for any connection; desk: people with a role for
      everything.

    `how` says whether it is a button, and whether it writes, confirms or is gentle;
    `more` has what doors.txt says in the lines below it.
    """

    does: str
    how: list[str]
    reach: str
    covers: str
    roles: tuple[Role, ...]
    more: dict[str, str]

    def __post_init__(self):
        self.is_post_only = "button" in self.how
        self.writes = "writes" in self.how
        self.sure = "confirms" in self.how
        self.is_gentle = "gentle" in self.how

    @property
    def needs(self):
        """The row that must exist first."""
        return self.more.get("needs", "")

    @property
    def fields(self):
        """A function that returns what its form posts for a walk, or None."""
        posts = self.more.get("posts", "" if self.is_post_only else None)
        return None if posts is None else partial(_filled, posts)

    @property
    def query(self):
        """A function that returns the parameters of its address for a walk, or None."""
        return partial(_filled, self.more["asks"]) if "asks" in self.more else None

    @property
    def who(self):
        """Who may use it, in words."""
        if self.reach == "public":
            return "anybody who knows the address"
        if self.reach == "host":
            return "programs on the same host, or with `METRICS_TOKEN`"
        if self.roles == EVERYBODY:
            named = (
                "anybody who is signed in"
                if self.reach == "own"
                else "anybody with a role"
            )
        else:
            named = " or ".join(role.value for role in self.roles)
        return named + _REACH_TEXT[self.covers or self.reach]


def _filled(form, walk):
    """Return the fields of a form with the rows of the walk of tests/walk.py."""
    fields = parse_qs(form, keep_blank_values=True)
    return {name: value.format(w=walk) for name, [value] in fields.items()}


def _rows(name):
    """Read a table of which indented lines belong to the row above them."""
    rows = re.split(r"\n+(?! )", Path(__file__).with_name(name).read_text().strip())
    return [re.split(r"\s{2,}", row) for row in rows if row[0] != "#"]


def _words(lines):
    return dict(one.partition(" ")[::2] for one in lines)


def _door(how, where, who, does, *more):
    reach, _, covers = where.partition(", ")
    roles = EVERYBODY if who == "all" else tuple(map(Role, who.split()))
    return Door(does, how.split(), reach, covers, roles, _words(more))


@dataclass
class Task:
    """A task: what it does without being asked by a person."""

    does: str
    more: dict[str, str]


DOORS = {name: _door(*row) for name, *row in _rows("doors.txt")}
TASKS = {name: Task(does, _words(more)) for name, does, *more in _rows("tasks.txt")}


def marked(word, table):
    """Return the rows of a table that have this word, with what follows it."""
    return {name: one.more[word] for name, one in table.items() if word in one.more}
