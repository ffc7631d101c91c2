"""Defines `Door`: one address of the desk, what it does, and who may use it. The tables
of doors are in `doors.py`, `admin_doors.py` and `audit_doors.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from common.actors import Role

R = Role.REVIEWER
A = Role.ADMIN
U = Role.AUDITOR
EVERYBODY = (R, A, U)
# Returns the fields of a form. Its argument is the walk of tests/walk.py, which has
# rows.
Fields = Callable[[Any], Mapping[str, Any]]
# How docs/permissions.md names where a role must be given.
_REACH_TEXT = {
    "own": "",
    "mailbox": " of the mailbox",
    "connection": " of the connection",
    "some connection": " of a connection",
    "desk": " of everything",
}


def nothing(walk):
    """Return the fields of a form that has only a button: none."""
    return {}


@dataclass(frozen=True)
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

    `fields` returns what a form posts and `query` the parameters of its address, from
    the rows of the walk. `needs` names the row that must exist first. `writes`: it
    changes something. `sure`: it requires reauthentication.
    """

    does: str
    reach: Literal[
        "public", "host", "own", "mailbox", "connection", "some connection", "desk"
    ]
    roles: tuple[Role, ...] = EVERYBODY
    writes: bool = False
    sure: bool = False
    fields: Fields | None = None
    query: Fields | None = None
    needs: str = ""
    # Whether it refuses by showing the page again, for instance because the posted
    # choice was not offered.
    is_gentle: bool = False
    covers: Literal["", "mailbox"] = ""
    is_post_only: ClassVar[bool] = False

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


def pages(reach, does):
    """Return doors that only show something, to all roles within `reach`."""
    return {name: Door(what, reach) for name, what in does.items()}


def writing_button(does, reach, roles=EVERYBODY, **more):
    """Return a button that changes something."""
    return Button(does, reach, roles, writes=True, **more)


@dataclass(frozen=True)
class Button(Door):
    """A door that accepts only POST; most have no fields."""

    fields: Fields | None = nothing
    is_post_only: ClassVar[bool] = True


@dataclass(frozen=True)
class ConfirmedButton(Button):
    """A button that changes something and requires reauthentication."""

    writes: bool = True
    sure: bool = True
