"""What the policy brings to gates: whom each mailbox may write to, and the minimum
oversight mode, below which no mailbox is set here either; and what gates refused, which is
read and recorded once.
"""

from datetime import timedelta
from itertools import product
from unittest.mock import patch

import pytest
from django.db.models.functions import Now
from django.utils import timezone

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
from policy.rules.facts import active_policy
from policy.rules.rules import Effects, PolicyRule
from policy.tasks import read_all_refusals
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


def content(*rules, now=None):
    return content_for(rules, now=now or clock())


def test_gate_of_two_rules_allows_exactly_whom_both_allow():
    lists = {one: make_list(one, name=one) for one in PATTERNS.split()}

    def allowed(*patterns):
        names = {one: {*patterns_for(one)} for one in ADDRESSES.split()}
        return {one for one in names if not names[one].isdisjoint(patterns)}

    for first, second in product(lists, lists):
        rules = rejecting(lists[first]), rejecting(lists[second], lists["acme.com"])
        expected = allowed(first) & allowed(second, "acme.com")
        assert allowed(*content(*rules)[1]) == expected, (first, second)


def test_entry_ends_at_the_gate_when_the_first_rule_stops_allowing_it():
    now = clock()
    first, second = (now + timedelta(days=days) for days in (1, 2))
    one, two, three = (make_list("acme.com", name=name) for name in "abc")
    one.entries.update(expires_at=first)
    two.entries.update(expires_at=second)
    both = [rejecting(one), rejecting(two)]
    for rules, end in (
        ([rejecting(one, two)], written_time(second)),
        (both, written_time(first)),
        ([rejecting(one, three)], NEVER),
    ):
        assert content(*rules, now=now)[1] == {"acme.com": end}
    assert content(*both, now=first)[1] == {}


def test_mode_of_a_gate_is_the_strictest_that_its_rules_ask(mailbox):
    at = make_list("acme.com")
    counting, rule = rejecting(at, contacts_count=True), rejecting(at)
    everything = PolicyRule(id="all", name="All", then=Effects(reject="No"))
    assert rules_at(mailbox, [everything]) == [everything]
    for rules, mode in (
        ([], "off"),
        ([counting] * 2, "contacts"),
        ([counting, rule], "enforce"),
        ([everything, rule], "enforce"),
    ):
        assert content(*rules)[0] == mode
    assert content(everything, rule)[1] == {}


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
        gate.refresh_from_db()
        assert gate.due_at
        sent_tasks.clear()
        sweep()
        assert ("policy.tasks.push_list", gate.pk) in sent_tasks
        change_row(gate, due_at=None)
    # A connection that the desk paused gets what it missed when it resumes; one that an
    # admin paused gets it at once: no single admin keeps a gate from getting stricter.
    change_row(mailbox.connection, paused_at=Now())
    change_list(admin, "y.example")
    assert not GateList.objects.to_push()
    change_row(mailbox.connection, paused_by_hand=True, is_our_gateway=True)
    assert GateList.objects.to_push()
    assert to_compare()


def test_rules_of_a_gate_ask_about_lists_and_mailboxes_alone(mailbox):
    other = make_connection("other").mailboxes.get()
    at = make_list()
    for asks, about in (
        ({}, [mailbox, other]),
        ({"mailboxes": [other.pk], "only_these": True}, [other]),
        ({"words": ["rose"]}, []),
        ({"lists": [at.pk]}, []),
    ):
        with rolled_back():
            reject_others(at, **asks)
            rules = active_policy().rules
            assert [one for one in (mailbox, other) if rules_at(one, rules)] == about
            ensure()
            assert GateList.objects.count() == len(about)


# --- the minimum oversight mode -------------------------------------------------------

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
        ([{"care": True}], "- - - -"),
        ([one], "gated_all - gated_all -"),
        ([SENT, one], "gated_all gated_send gated_all gated_send"),
        ([only], "gated_all - - -"),
        ([least("gated_all", connections=[connection])], "gated_all " * 4),
        ([least("gated_all", connections=[0])], "- - - -"),
    ):
        put_in_force(*rules)
        rules = minimum_rules()
        keys = (mailbox.pk, other.pk, 0)
        found = [minimum_of(rules, connection, key) for key in keys]
        found.append(minimum_of_all(rules, connection))
        assert [one or "-" for one in found] == expected.split()
    # One that is added later counts, and none that is gone.
    mailbox.connection.mailboxes.filter(pk=other.pk).update(is_active=False)
    for rule, expected in ((one, "gated_all"), (only, "")):
        put_in_force(rule)
        assert minimum_of_all(minimum_rules(), connection) == expected


def test_no_mailbox_is_set_below_it_from_the_desk(admin, account):
    actor = actor_of(admin)
    box = {"mailbox": account.mailbox, "actor": actor}
    wanted = {"address": "board", "oversight_mode": "gated_send"}
    new = {"connection": account.connection, "actor": actor, "wanted": wanted}
    looser = {"allow_looser_per_call": True}
    works = [
        lambda: loosen(**box, target="monitored"),
        lambda: change_mailbox(**box, changes=looser),
        lambda: create_mailbox(**new),
    ]
    for rule, refused in (
        (SENT, works[:2]),
        ({"least_mode": "gated_all"}, works),
        # While nobody knows the minimum, nothing is made looser.
        ({"least_mode": "later_mode", "unknown": True}, works),
    ):
        put_in_force(rule)
        for work in refused:
            with pytest.raises(ChangeRefused):
                work()
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
    put_in_force(least("monitored"))
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
    upstream.answers[PATH] = (200, TWO)
    assert read_refusals(connection_id=gateway.pk) == "2 read"
    assert read_refusals(connection_id=gateway.pk) == "0 read"
    first, second = refusals()
    assert first["recipients"] == "lee@y.example, dana@x.example"
    assert [first["refused"], second["refused"]] == ["dana@x.example", "b@x.example"]
    assert second["mailbox"] == MAILBOX["address"]
    assert upstream.keys == ["mm_live_oversight"] * 2
    upstream.answers[PATH] = (200, MALFORMED)
    assert read_refusals(connection_id=gateway.pk) == "1 read"


def test_unreadable_list_of_refusals_changes_nothing(gateway, upstream):
    for answer in (
        (500, {}),
        (403, {"error": "scope"}),
        (200, {"refusals": "x"}),
    ):
        upstream.answers[PATH] = answer
        with rolled_back():
            assert read_refusals(connection_id=gateway.pk) == "not now", answer
            assert refusals() == []
            assert Connection.objects.get().paused_at is None
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
    make_connection("paused", paused_at=timezone.now())
    read_all_refusals()
    assert sent_tasks == [("policy.tasks.read_refusals", gateway.pk)] * 2
