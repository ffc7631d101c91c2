"""Who may pull and release a kill switch, or change what else is for a scope: whoever's
role reaches all of it.
"""

import itertools

from common.actors import Actor, Role, Scope
from mirror.models import Connection, Mailbox
from policy.kill_switch import may_pull
from policy.models import KillSwitch

HERE = Connection(pk=1)
ELSEWHERE = Connection(pk=2)
BOX = Mailbox(pk=10, connection=HERE)
SCOPES = {
    "everything": {},
    "connection": {"connection": HERE},
    "mailbox": {"mailbox": BOX},
}
# How far a role reaches, and what of it lies within.
REACHES = (
    ({}, SCOPES), ({"connection": 1}, ("connection", "mailbox")), ({"connection": 1, "mailbox": 10}, ("mailbox",)),
    ({"connection": 2}, ()), ({"connection": 1, "mailbox": 11}, ()),
)  # fmt: skip


def test_switch_is_pulled_and_released_within_the_reach_of_a_role():
    for role, (reach, within), scope in itertools.product(Role, REACHES, SCOPES):
        scopes = (Scope(role, **reach),)
        actor = Actor(kind="person", id="1", label="X", surface="web", scopes=scopes)
        found = (
            may_pull(actor, **SCOPES[scope]),
            KillSwitch(**SCOPES[scope]).is_within(actor, Role.ADMIN),
        )
        may = scope in within
        assert found == (
            may and role in (Role.REVIEWER, Role.ADMIN),
            may and role == Role.ADMIN,
        ), (role, reach, scope)
