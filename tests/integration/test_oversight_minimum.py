"""The policy's minimum oversight mode: no mailbox is set below it here, those below it
are named, and our gateways get it.
"""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db.models.functions import Now
from django.utils import timezone

from approvals.operations.attention import attention_count, attention_for
from audit.models import Entry
from connections.errors import ChangeRefused
from connections.mailboxes.commands import change_mailbox, create_mailbox, loosen
from mirror.models import Connection, Mailbox
from policy.gates import (
    bring_minimum,
    minimum_of,
    minimum_of_all,
    minimum_rules,
    to_compare,
)
from policy.models import PolicyVersion
from policy.rules.changes import policies
from tests.factories import actor_of, make_connection
from tests.integration.test_policy_pages import ADD, begun, post
from tests.integration.test_several_approvals import put_in_force
from tests.markup import says


def least(mode, **when):
    return {"when": when, "then": {"least_mode": mode}}


def test_strictest_rule_counts_and_a_connection_has_what_holds_for_all(connection):
    mailbox = connection.mailboxes.get()
    other = connection.mailboxes.create(upstream_id="other")
    connection = connection.pk
    known = [f"{connection}/{one.pk}" for one in (mailbox, other)]

    def minimums(*rules):
        put_in_force(*rules)
        rules = minimum_rules()
        by_mailbox = [minimum_of(rules, connection, key) for key in places]
        return [*by_mailbox, minimum_of_all(rules, connection)]

    places = (mailbox.pk, other.pk, 0)
    sent = least("gated_send")
    assert minimums({"care": True}) == ["", "", "", ""]
    assert minimums(sent) == ["gated_send"] * 4
    # A rule on one mailbox is about those that are added later, too.
    one = least("gated_all", mailboxes=[mailbox.pk], known=known)
    assert minimums(one) == ["gated_all", "", "gated_all", ""]
    assert minimums(sent, one) == ["gated_all", "gated_send", "gated_all", "gated_send"]
    Mailbox.objects.filter(pk=other.pk).update(is_active=False)
    assert minimums(one)[3] == "gated_all"
    only = least("gated_all", mailboxes=[mailbox.pk], only_these=True)
    assert minimums(only) == ["gated_all", "", "", ""]
    away = make_connection("away").pk
    assert minimums(least("monitored", connections=[connection])) == ["monitored"] * 4
    assert minimum_of_all(minimum_rules(), away) == ""


def test_it_is_written_as_a_rule_on_connections_and_mailboxes(
    signed_in, admin, connection
):
    client = signed_in(admin)
    begun(admin)
    typed = {"name": "All is seen", "least_mode": "gated_all"}
    typed["edits"] = "0"
    refused = post(client, ADD, 422, **typed, high_risk="on")
    says(refused, 422, "by connections and mailbox")
    post(client, ADD, **typed, connections=[connection.pk])
    saved = policies().draft_rules[-1]
    least_all = least("gated_all", connections=[connection.pk])
    assert saved.as_json() == {**saved.as_json(), **least_all}


def test_no_mailbox_is_set_below_it_from_the_desk(admin, account):
    actor = actor_of(admin)
    box = account.mailbox
    put_in_force(least("gated_send"))
    sent_waits = r"minimum is Sent mail waits \(gated_send\)"
    with pytest.raises(ChangeRefused, match=sent_waits):
        loosen(mailbox=box, actor=actor, target="monitored")
    looser = {"allow_looser_per_call": True}
    with pytest.raises(ChangeRefused, match="a call that may loosen"):
        change_mailbox(mailbox=box, actor=actor, changes=looser)
    wanted = {"address": "board", "oversight_mode": "gated_send"}

    def create():
        create_mailbox(connection=account.connection, actor=actor, wanted=wanted)

    put_in_force(least("gated_all"))
    with pytest.raises(ChangeRefused, match=r"minimum is All mail waits \(gated_all\)"):
        create()
    # While nobody knows the minimum, nothing is made looser.
    put_in_force({"least_mode": "later_mode", "unknown": True})
    with pytest.raises(ChangeRefused, match="could not be read"):
        create()
    assert attention_count(actor) == len(attention_for(actor, timezone.now()))
    assert bring() == ["not now"]
    assert Mailbox.objects.get(pk=box.pk).oversight_mode == "gated_send"


def bring():
    """As the sweep does."""
    return [bring_minimum(connection_id=one.pk) for one in to_compare()]


def test_minimum_arrives_at_our_gateway_whose_api_refuses_looser_modes(account):
    there = account.world.account

    def change(path, **body):
        return account.ask("PATCH", f"/v1/{path}", key="admin", json=body)

    assert bring() == ["no minimum"]
    put_in_force(least("gated_send"))
    assert bring() == ["brought"]
    assert bring() == []
    there.refresh_from_db()
    assert there.minimum_oversight_mode == "gated_send"
    box = f"mailboxes/{account.mailbox.upstream_id}"
    refused = change(box, allow_looser_per_call=True)
    assert refused.json()["code"] == "below_minimum"
    told = Entry.objects.get(action="oversight_minimum.brought")
    assert told.detail.fields["after"] == "gated_send"
    # The gateway forgot it, as one that was restored: the next comparison brings it
    # again.
    type(there).objects.update(minimum_oversight_mode="")
    earlier = timezone.now() - timedelta(minutes=6)
    Connection.objects.update(gate_minimum_checked_at=earlier)
    assert bring() == ["brought"]
    # A lower one is not brought, and no admin key can lower it without a code.
    put_in_force(least("monitored"))
    assert bring() == ["there already"]
    assert change("account", minimum_oversight_mode="").status_code == 202
    there.refresh_from_db()
    assert there.minimum_oversight_mode == "gated_send"


@pytest.mark.slow
def test_minimum_that_has_not_arrived_says_why_and_is_tried_again(
    signed_in, admin, account
):
    actor = actor_of(admin)
    make_connection("hosted", is_our_gateway=False)
    put_in_force(least("gated_send"))
    ours = Connection.objects.filter(is_our_gateway=True)
    ours.update(api_url="http://127.0.0.1:9")
    assert bring() == ["not now"]
    others = attention_count(actor)
    PolicyVersion.objects.update(activated_at=Now() - timedelta(hours=1))
    lacks = "lacks the policy's minimum oversight"
    says(signed_in(admin).get("/attention/"), 200, lacks)
    number = len(attention_for(actor, timezone.now()))
    assert attention_count(actor) == number == others + 1
    long_ago = timezone.now() - timedelta(hours=1)
    ours.update(api_url=account.connection.api_url, gate_minimum_checked_at=long_ago)
    assert bring() == ["brought"]
    assert attention_count(actor) == others


@pytest.mark.slow
def test_mailbox_that_was_changed_elsewhere_is_named(signed_in, admin, account, capsys):
    client = signed_in(admin)
    put_in_force(least("gated_send"))
    # By API, past the desk.
    loosened = account.world.mailbox
    loosened.oversight_mode = "monitored"
    loosened.allow_looser_per_call = True
    loosened.save()
    client.get("/mailboxes/")
    says(client.get("/attention/"), 200, "The minimum is Sent mail waits (gated_send)")
    with pytest.raises(SystemExit):
        call_command("doctor")
    assert "below the policy's minimum oversight" in capsys.readouterr().out
