"""The policy's minimum oversight mode: no mailbox is set below it here, those below it
are named, and our gateways get it.
"""

from datetime import timedelta
from itertools import product
from unittest.mock import patch

import pytest

from audit.models import Entry
from connections.changes import ChangeRefused
from connections.mailboxes.commands import change_mailbox, create_mailbox, loosen
from mirror.models import Connection
from mirror.oversight_modes import NAMES, is_below, is_minimum_lower
from policy.gates import (
    bring_minimum,
    minimum_of,
    minimum_of_all,
    minimum_rules,
    to_compare,
)
from tests.factories import actor_of, put_in_force

SENT = {"least_mode": "gated_send"}


def least(mode, **when):
    return {"when": when, "then": {"least_mode": mode}}


def bring():
    """As the sweep does."""
    return [bring_minimum(connection_id=one.pk) for one in to_compare()]


def test_strictest_rule_counts_and_a_connection_has_what_holds_for_all(mailbox):
    connection = mailbox.connection_id
    other = mailbox.connection.mailboxes.create(upstream_id="other")
    known = [f"{connection}/{one.pk}" for one in (mailbox, other)]
    one = least("gated_all", mailboxes=[mailbox.pk], known=known)
    only = least("gated_all", mailboxes=[mailbox.pk], only_these=True)
    # Of the mailbox, the other one, one that is added later, and all of them.
    for rules, expected in (
        ([{"care": True}], ["", "", "", ""]),
        ([one], ["gated_all", "", "gated_all", ""]),
        ([SENT, one], ["gated_all", "gated_send", "gated_all", "gated_send"]),
        ([only], ["gated_all", "", "", ""]),
        ([least("monitored", connections=[connection])], ["monitored"] * 4),
        ([least("monitored", connections=[0])], [""] * 4),
    ):
        put_in_force(*rules)
        rules = minimum_rules()
        found = [
            minimum_of(rules, connection, key) for key in (mailbox.pk, other.pk, 0)
        ]
        assert [*found, minimum_of_all(rules, connection)] == expected
    # One that is added later counts, and none that is gone.
    mailbox.connection.mailboxes.filter(pk=other.pk).update(is_active=False)
    for rule, expected in ((one, "gated_all"), (only, "")):
        put_in_force(rule)
        assert minimum_of_all(minimum_rules(), connection) == expected


def test_no_mailbox_is_set_below_it_from_the_desk(admin, account):
    actor = actor_of(admin)
    box = account.mailbox
    wanted = {"address": "board", "oversight_mode": "gated_send"}
    looser = {"allow_looser_per_call": True}
    works = {
        "loosen": lambda: loosen(mailbox=box, actor=actor, target="monitored"),
        "call": lambda: change_mailbox(mailbox=box, actor=actor, changes=looser),
        "create": lambda: create_mailbox(
            connection=account.connection, actor=actor, wanted=wanted
        ),
    }
    for rule, refused in (
        (SENT, ["loosen", "call"]),
        ({"least_mode": "gated_all"}, works),
        # While nobody knows the minimum, nothing is made looser.
        ({"least_mode": "later_mode", "unknown": True}, works),
    ):
        put_in_force(rule)
        for name in refused:
            with pytest.raises(ChangeRefused):
                works[name]()
    assert bring() == ["not now"]


def test_minimum_arrives_at_our_gateway_whose_api_refuses_looser_modes(account):
    there = account.world.account

    def change(path, **body):
        return account.ask("PATCH", f"/v1/{path}", key="admin", json=body)

    def bring_later():
        with patch("policy.gates.EVERY", timedelta(0)):
            return bring()

    assert bring() == ["no minimum"]
    put_in_force(SENT)
    Connection.objects.update(api_url="http://127.0.0.1:9")
    assert bring() == ["not now"]
    Connection.objects.update(api_url=account.connection.api_url)
    assert bring_later() == ["brought"]
    assert bring() == []
    there.refresh_from_db()
    assert there.minimum_oversight_mode == "gated_send"
    refused = change(
        f"mailboxes/{account.mailbox.upstream_id}", allow_looser_per_call=True
    )
    assert refused.json()["code"] == "below_minimum"
    told = Entry.objects.get(action="oversight_minimum.brought")
    assert told.detail.fields["after"] == "gated_send"
    # The gateway forgot it, as one that was restored: the next comparison brings it
    # again.
    type(there).objects.update(minimum_oversight_mode="")
    assert bring_later() == ["brought"]
    # A lower one is not brought, and no admin key can lower it without a code.
    put_in_force(least("monitored"))
    assert bring() == ["there already"]
    assert change("account", minimum_oversight_mode="").status_code == 202
    there.refresh_from_db()
    assert there.minimum_oversight_mode == "gated_send"


def test_mailbox_below_the_minimum_and_lower_minimum():
    for mode, minimum in product(NAMES, NAMES):
        assert is_below(mode, per_call=False, minimum=minimum) == (
            NAMES.index(mode) > NAMES.index(minimum)
        )
        assert is_minimum_lower(mode, than=minimum) == (
            NAMES.index(mode) > NAMES.index(minimum)
        )
    assert is_below("gated_all", per_call=True, minimum="gated_send")
    assert not is_below("read_only", per_call=True, minimum="gated_send")
    assert is_below("later_mode", per_call=False, minimum="monitored")
    assert is_minimum_lower("", than="gated_send")
