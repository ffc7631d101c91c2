"""What the policy brings to gates: whom each mailbox may write to, and the minimum
oversight mode, below which no mailbox is set here either; and what gates refused, which is
read and recorded once.
"""

import json
from datetime import timedelta
from itertools import product
from string import Template
from unittest.mock import patch

import pytest
from django.db.models.functions import Now

from approvals.tasks import sweep
from audit.models import Entry
from common.mail_addresses import patterns_for
from common.postgres import clock
from connections.changes import ChangeRefused
from connections.mailboxes.commands import change_mailbox, create_mailbox, loosen
from mirror.models import Connection, WebhookEvent
from mirror.oversight_modes import NAMES, is_below, is_minimum_lower
from policy.gates import (
    NEVER,
    bring_minimum,
    content_for,
    ensure,
    minimum_of,
    minimum_of_all,
    minimum_rules,
    read_refusals,
    rules_at,
    to_compare,
)
from policy.models import GateList
from policy.rules.conditions import Conditions
from policy.rules.rules import Effects, PolicyRule
from policy.tasks import read_all_refusals
from simple_form.data import rows
from tests.factories import (
    MAILBOX,
    actor_of,
    change_list,
    change_row,
    event_body,
    make_connection,
    make_list,
    post_event,
    put_in_force,
    reject_others,
    rolled_back,
)
from tests.integration.passing import activate
from upstream.events import written_time

PATTERNS = "acme.com *.acme.com *.sub.acme.com ana@acme.com bo@sub.acme.com"
ADDRESSES = "ana@acme.com eve@acme.com bo@sub.acme.com cy@sub.acme.com dee@a.sub.acme.com x@y.example"


def rejecting(*lists, **when):
    when = Conditions(lists_except=frozenset(one.pk for one in lists), **when)
    return PolicyRule("r", "R", when, Effects(reject="No"))


def test_gate_of_two_rules_allows_exactly_whom_both_allow():
    lists = {one: make_list(one, name=one) for one in PATTERNS.split()}

    def allowed(*patterns):
        names = {one: {*patterns_for(one)} for one in ADDRESSES.split()}
        return {one for one in names if not names[one].isdisjoint(patterns)}

    for first, second in product(lists, lists):
        rules = rejecting(lists[first]), rejecting(lists[second], lists["acme.com"])
        expected = allowed(first) & allowed(second, "acme.com")
        assert allowed(*content_for(rules, now=clock())[1]) == expected


# Rules, each by its lists, where + counts contacts and - is a rule without lists; the mode
# of the gate, and when the entry ends. List a ends before b, and c does not.
CONTENT = """
ab     enforce   b
a b    enforce   a
ac     enforce   c
c+ c+  contacts  c
c+ c   enforce   c
- c    enforce   none
"""


def test_gate_has_the_strictest_mode_and_an_entry_until_the_first_rule_stops_it(
    mailbox,
):
    now = clock()
    ends = {"a": now + timedelta(days=1), "b": now + timedelta(days=2), "c": None}
    lists = {name: make_list("acme.com", name=name) for name in ends}
    for name, end in ends.items():
        lists[name].entries.update(expires_at=end)
    assert content_for([], now=now) == ("off", {})
    for written, mode, end in rows(CONTENT):
        rules = [
            rejecting(*map(lists.get, one.strip("+-")), contacts_count="+" in one)
            for one in written.split()
        ]
        assert rules_at(mailbox, rules) == rules
        expires = NEVER if end == "c" else written_time(ends.get(end) or now)
        entries = {} if end == "none" else {"acme.com": expires}
        assert content_for(rules, now=now) == (mode, entries), written
    assert content_for([rejecting(lists["a"])], now=ends["a"])[1] == {}


def test_activation_and_a_changed_list_leave_the_gates_behind(
    admin, second, mailbox, sent_tasks
):
    gate = GateList.objects.create(mailbox=mailbox, due_at=None)
    change_row(mailbox.connection, admin_key="mm_live_admin")
    at = make_list()
    for work in (
        lambda: activate(admin, second, rejecting(at)),
        lambda: change_list(admin, "x.example"),
    ):
        work()
        assert GateList.objects.get().due_at
        sent_tasks.clear()
        sweep()
        assert ("policy.tasks.push_list", gate.pk) in sent_tasks
        change_row(gate, due_at=None)
    # A connection that the desk paused gets what it missed when it resumes; one that an
    # admin paused gets it at once: no single admin keeps a gate from getting stricter.
    change_row(mailbox.connection, paused_at=Now())
    change_list(admin, "y.example")
    assert not GateList.objects.to_push()
    change_row(mailbox.connection, paused_by_hand=True)
    assert GateList.objects.to_push()
    assert to_compare()


# What a rule that rejects others asks, too, and of how many mailboxes gates apply it.
ASKS = """
{}                                            2
{"mailboxes": [$other], "only_these": true}   1
{"words": ["rose"]}                           0
{"lists": [$list]}                            0
"""


def test_rules_of_a_gate_ask_about_lists_and_mailboxes_alone(mailbox):
    other = make_connection("other").mailboxes.get()
    at = make_list()
    for asks, number in rows(Template(ASKS).substitute(other=other.pk, list=at.pk)):
        with rolled_back():
            reject_others(at, **json.loads(asks))
            ensure()
            about = [one.mailbox for one in GateList.objects.order_by("-mailbox")]
            assert about == [other, mailbox][: int(number)], asks


# --- the minimum oversight mode -------------------------------------------------------

SENT = {"least_mode": "gated_send"}
ALL = {"least_mode": "gated_all"}


def bring():
    """As the sweep does."""
    return [bring_minimum(connection_id=one.pk) for one in to_compare()]


# Rules, and the minimum of a mailbox, of another one, of one that is added later, of all
# of them, and of all once the other one is gone.
MINIMUMS = """
[{"care": true}]    -  -  -  -  -
[{"when": {"mailboxes": [$box], "known": ["$at/$box", "$at/$other"]}, "then": {"least_mode": "gated_all"}}]
  gated_all  -  gated_all  -  gated_all
[{"least_mode": "gated_send"},
 {"when": {"mailboxes": [$box], "known": ["$at/$box", "$at/$other"]}, "then": {"least_mode": "gated_all"}}]
  gated_all  gated_send  gated_all  gated_send  gated_all
[{"when": {"mailboxes": [$box], "only_these": true}, "then": {"least_mode": "gated_all"}}]
  gated_all  -  -  -  -
[{"when": {"connections": [$at]}, "then": {"least_mode": "gated_all"}}]
  gated_all  gated_all  gated_all  gated_all  gated_all
[{"when": {"connections": [0]}, "then": {"least_mode": "gated_all"}}]    -  -  -  -  -
"""


def test_strictest_rule_counts_and_a_connection_has_what_holds_for_all(mailbox):
    at = mailbox.connection_id
    other = mailbox.connection.mailboxes.create(upstream_id="other")
    table = Template(MINIMUMS).substitute(at=at, box=mailbox.pk, other=other.pk)
    for written, *expected in rows(table.replace(",\n", ",")):
        put_in_force(*json.loads(written))
        rules = minimum_rules()
        found = [minimum_of(rules, at, one) for one in (mailbox.pk, other.pk, 0)]
        for is_active in (True, False):
            change_row(other, is_active=is_active)
            found.append(minimum_of_all(rules, at))
        assert [one or "-" for one in found] == expected, written


def test_no_mailbox_is_set_below_it_from_the_desk(admin, account):
    box = {"mailbox": account.mailbox, "actor": actor_of(admin)}
    wanted = {"address": "board", "oversight_mode": "gated_send"}
    new = {"connection": account.connection, "actor": box["actor"], "wanted": wanted}
    works = [
        (loosen, {**box, "target": "monitored"}),
        (change_mailbox, {**box, "changes": {"allow_looser_per_call": True}}),
        (create_mailbox, new),
    ]
    for rule, refused in (
        (SENT, works[:2]),
        (ALL, works),
        # While nobody knows the minimum, nothing is made looser.
        ({**ALL, "unknown": True}, works),
    ):
        put_in_force(rule)
        for work, fields in refused:
            with pytest.raises(ChangeRefused):
                work(**fields)
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
    path = f"mailboxes/{account.mailbox.upstream_id}"
    refused = change(path, allow_looser_per_call=True).json()
    assert refused["code"] == "below_minimum"
    told = Entry.objects.get(action="oversight_minimum.brought")
    assert told.detail.fields["after"] == "gated_send"
    # The gateway forgot it, as one that was restored: the next comparison brings it
    # again.
    type(there).objects.update(minimum_oversight_mode="")
    assert bring_later() == ["brought"]
    # A lower one is not brought, and no admin key can lower it without a code.
    put_in_force({"least_mode": "monitored"})
    assert bring() == ["there already"]
    assert change("account", minimum_oversight_mode="").status_code == 202
    there.refresh_from_db()
    assert there.minimum_oversight_mode == "gated_send"


def test_mailbox_below_the_minimum_and_lower_minimum():
    for mode, minimum in product(NAMES, NAMES):
        is_looser = NAMES.index(mode) > NAMES.index(minimum)
        assert is_below(mode, per_call=False, minimum=minimum) == is_looser
        assert is_minimum_lower(mode, than=minimum) == is_looser
    assert is_below("gated_all", per_call=True, minimum="gated_send")
    assert not is_below("read_only", per_call=True, minimum="gated_send")
    assert is_below("later_mode", per_call=False, minimum="monitored")
    assert is_minimum_lower("", than="gated_send")


# --- refusals -------------------------------------------------------------------------

PATH = "/v1/refusals"


@pytest.fixture
def gateway(connection, upstream):
    change_row(connection, api_url=upstream.url)
    connection.refresh_from_db()
    return connection


TWO = b"""{"cursor": null, "refusals": [
{"id": "01REFUSAL2", "mailbox": "old@yourteam.example", "mailbox_id": "01MAILBOX", "key_id": "01KEY",
 "key_name": "Support bot", "recipients": ["lee@y.example", "b@x.example"],
 "refused_recipients": ["b@x.example"], "rule": "restriction, mode enforce, version 7",
 "metadata": {"discord_user": "ana#1"}, "sandbox": false, "created_at": "2026-11-20T10:00:00Z"},
{"id": "01REFUSAL1", "recipients": ["lee@y.example", "dana@x.example"], "refused_recipients": ["dana@x.example"]}
]}"""
# As far as a row is readable, it is stored.
MALFORMED = b"""{"cursor": null, "refusals": [
{"id": 7, "refused_recipients": "x", "recipients": null, "metadata": [1], "created_at": "soon"},
{"no": "id"}, "nonsense"
]}"""


def refusals():
    entries = Entry.objects.filter(action="message.refused_at_gate")
    return [one.detail.fields for one in entries.order_by("pk")]


def test_refusal_at_the_gate_is_recorded_once(gateway, upstream):
    # What MultiMail answers, and what becomes of it.
    for answer, told in (
        ((500, {}), "not now"),
        ((403, {"error": "scope"}), "not now"),
        ((200, {"refusals": "x"}), "not now"),
        ((200, TWO), "2 read"),
        ((200, TWO), "0 read"),
        ((200, MALFORMED), "1 read"),
    ):
        upstream.answers[PATH] = answer
        assert read_refusals(connection_id=gateway.pk) == told, answer
        assert bool(refusals()) == (told != "not now")
    assert Connection.objects.get().paused_at is None
    assert {*upstream.keys} == {"mm_live_oversight"}
    first, second, _ = refusals()
    assert first["recipients"] == "lee@y.example, dana@x.example"
    assert [first["refused"], second["refused"]] == ["dana@x.example", "b@x.example"]
    assert second["mailbox"] == MAILBOX["address"]
    # Hosted MultiMail is not asked.
    asked = len(upstream.calls)
    Connection.objects.update(is_our_gateway=False)
    assert read_refusals(connection_id=gateway.pk) == "cannot be asked"
    assert len(upstream.calls) == asked


def test_webhook_triggers_a_read_of_refusals_and_the_periodic_task_reads_healthy_gateways(
    client, gateway, sent_tasks
):
    body = event_body("message.refused", refusal_id="01R", mailbox="x")
    assert post_event(client, gateway, body).status_code == 200
    assert sent_tasks == [("policy.tasks.read_refusals", gateway.pk)]
    assert WebhookEvent.objects.get().result == "applied"
    make_connection("hosted", is_our_gateway=False)
    make_connection("paused", paused_at=clock())
    read_all_refusals()
    assert sent_tasks == [("policy.tasks.read_refusals", gateway.pk)] * 2
