"""What a door is: one address of the desk, with what it does and who may go through it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from common.actors import Role

R = Role.REVIEWER
A = Role.ADMIN
U = Role.AUDITOR
EVERYBODY = (R, A, U)
Fields = Callable[[Any], Mapping[str, Any]]
_HOW_FAR = {
    "own": "",
    "mailbox": " of the mailbox",
    "connection": " of the connection",
    "some connection": " of a connection",
    "desk": " of everything",
}


def nothing(walk):
    """Of a form with a button alone."""
    return {}


@dataclass(frozen=True)
class Door:
    """One address. `roles` may go through it, where they reach:

    - public: whoever knows the address; host: programs on the same host, or with a
      token;
    - own: whoever is signed in, for themselves alone; where it `covers` a place, only
      with a role that reaches it;
    - mailbox, connection: with a role for that of the row at hand, or for what it is
      in; others must not even learn that there is such a row (404);
    - some connection: with a role for any connection; desk: with a role for everything.

    `fields` are what a form would post, and `query` what its address asks for, from the
    rows of the walk; `needs` names the row that must be there first. A door that `writes` changes something for whoever
    may; one that is `sure` asks to confirm who one is.
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
    # It refuses by showing the page again, for instance because what was chosen was not
    # there to be chosen.
    is_gentle: bool = False
    covers: Literal["", "mailbox"] = ""
    is_post_only: ClassVar[bool] = False

    @property
    def who(self):
        """In words, who may go through."""
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
        return named + _HOW_FAR[self.covers or self.reach]


def pages(reach, does):
    """Doors that only show something, to anybody who reaches."""
    return {name: Door(what, reach) for name, what in does.items()}


def writing_button(does, reach, roles=EVERYBODY, **more):
    """A button that changes something for whoever may."""
    return Button(does, reach, roles, writes=True, **more)


@dataclass(frozen=True)
class Button(Door):
    """A door that takes a POST alone; most have no fields."""

    fields: Fields | None = nothing
    is_post_only: ClassVar[bool] = True


@dataclass(frozen=True)
class ConfirmedButton(Button):
    """A button that changes something, and asks to confirm who one is."""

    writes: bool = True
    sure: bool = True
