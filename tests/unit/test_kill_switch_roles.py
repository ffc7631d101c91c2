"""Who may pull and release a kill switch: whoever's role reaches all that it stops."""

import itertools

from common.actors import Actor, Role, Scope
from mirror.models import Connection, Mailbox
from policy.kill_switch import may_pull, may_release
from policy.models import KillSwitch

HERE = Connection(pk=1)
ELSEWHERE = Connection(pk=2)
BOX = Mailbox(pk=10, connection=HERE)
SCOPES = {
    "everything": {},
    "connection": {"connection": HERE},
    "mailbox": {"mailbox": BOX},
}
REACHES = {
    "everything": {}, "connection": {"connection": 1}, "mailbox": {"connection": 1, "mailbox": 10},
    "elsewhere": {"connection": 2}, "other mailbox": {"connection": 1, "mailbox": 11},
}  # fmt: skip
# By how far a role reaches: what of it lies within.
WITHIN = {
    "everything": ("everything", "connection", "mailbox"), "connection": ("connection", "mailbox"),
    "mailbox": ("mailbox",), "elsewhere": (), "other mailbox": (),
}  # fmt: skip


def actor(role, reach):
    return Actor(
        kind="person",
        id="1",
        label="X",
        surface="web",
        scopes=(Scope(Role(role), **REACHES[reach]),),
    )


def test_switch_is_pulled_and_released_within_the_reach_of_a_role():
    for role, reach, scope in itertools.product(
        [role.value for role in Role], REACHES, SCOPES
    ):
        within = scope in WITHIN[reach]
        found = (
            may_pull(actor(role, reach), **SCOPES[scope]),
            may_release(actor(role, reach), KillSwitch(**SCOPES[scope])),
        )
        assert found == (
            within and role in ("reviewer", "admin"),
            within and role == "admin",
        ), (role, reach, scope)
