"""Which recipients the gate of a mailbox is told to allow, by the rules of the policy."""

from datetime import timedelta
from itertools import product

from approvals import tasks
from common.mail_addresses import patterns_for
from common.postgres import clock
from policy.gates import content_for, ensure, rules_at
from policy.models import GateList
from policy.rules.conditions import Conditions
from policy.rules.facts import active_policy
from policy.rules.rules import Effects, PolicyRule
from tests.factories import (
    change_list,
    change_row,
    make_connection,
    make_list,
    reject_others,
)
from tests.integration.passing import activate
from upstream.events import written_time

PATTERNS = "acme.com *.acme.com sub.acme.com *.sub.acme.com ana@acme.com bo@sub.acme.com x@y.example"
ADDRESSES = "ana@acme.com eve@acme.com bo@sub.acme.com cy@sub.acme.com dee@a.sub.acme.com x@y.example"


def allowed(*patterns):
    """Return which addresses are named by one of these patterns."""
    return {
        one
        for one in ADDRESSES.split()
        if not set(patterns).isdisjoint(patterns_for(one))
    }


def rejecting(*lists, **when):
    when = Conditions(lists_except=frozenset(one.pk for one in lists), **when)
    return PolicyRule(id="r", name="R", when=when, then=Effects(reject="No"))


def test_gate_of_two_rules_allows_exactly_whom_both_allow(db):
    lists = {one: make_list(one, name=one) for one in PATTERNS.split()}
    for first, second, third in product(lists, lists, lists):
        rules = [rejecting(lists[first]), rejecting(lists[second], lists[third])]
        _, entries = content_for(rules, now=clock())
        expected = allowed(first) & allowed(second, third)
        assert allowed(*entries) == expected, (first, second, third)


def test_entry_ends_at_the_gate_when_the_first_rule_stops_allowing_it(db):
    now = clock()
    one, two, three = (make_list("acme.com", name=name) for name in "abc")
    for at, days in ((one, 1), (two, 2)):
        at.entries.update(expires_at=now + timedelta(days=days))
    for rules, days in (
        ([rejecting(one, two)], 2),
        ([rejecting(one), rejecting(two)], 1),
        ([rejecting(one, three)], None),
    ):
        [end] = content_for(rules, now=now)[1].values()
        assert end == (days and written_time(now + timedelta(days=days)))
    later = now + timedelta(days=1)
    assert content_for([rejecting(one), rejecting(two)], now=later)[1] == {}


def test_contacts_count_at_the_gate_if_all_rules_count_them(db):
    at = make_list()
    counting = rejecting(at, contacts_count=True)
    assert content_for([counting, counting], now=clock())[0] == "contacts"
    assert content_for([counting, rejecting(at)], now=clock())[0] == "enforce"
    assert content_for([], now=clock())[0] == "off"


def test_rule_that_rejects_everything_closes_the_gate(db, connection):
    everything = PolicyRule(id="all", name="All", then=Effects(reject="No"))
    rules = rules_at(connection.mailboxes.get(), [everything])
    assert rules == [everything]
    both = [*rules, rejecting(make_list("acme.com"))]
    assert content_for(both, now=clock()) == ("enforce", {})


def test_activation_and_a_changed_list_leave_the_gates_behind(
    admin, second, connection, sent_tasks
):
    gate = GateList.objects.create(mailbox=connection.mailboxes.get(), pushed=1)
    change_row(connection, admin_key="mm_live_admin")
    at = make_list()
    for work in (
        lambda: activate(admin, second, rejecting(at)),
        lambda: change_list(admin, "x.example"),
    ):
        work()
        gate.refresh_from_db()
        assert gate.is_behind
        sent_tasks.clear()
        tasks.sweep()
        assert ("policy.tasks.push_list", gate.pk) in sent_tasks
        change_row(gate, pushed=gate.wanted)


def test_rules_of_a_gate_ask_about_lists_and_mailboxes_alone(connection):
    mailbox = connection.mailboxes.get()
    other = make_connection("other").mailboxes.get()
    at = make_list()
    for when, about in (
        ({}, [mailbox, other]),
        ({"mailboxes": [other.pk], "only_these": True}, [other]),
        ({"high_risk": True}, []),
        ({"lists": [at.pk]}, []),
    ):
        reject_others(at, **when)
        rules = active_policy().rules
        found = [one for one in (mailbox, other) if rules_at(one, rules)]
        assert found == about, when
    reject_others(at, mailboxes=[other.pk], only_these=True)
    ensure()
    assert [one.mailbox for one in GateList.objects.all()] == [other]
