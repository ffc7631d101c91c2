"""Which recipients the gate of a mailbox is told to allow, by the rules of the policy."""

from datetime import timedelta
from itertools import product

import pytest
from django.db.models.functions import Now

from approvals import tasks
from common.mail_addresses import patterns_for
from common.postgres import clock
from policy.gates import NEVER, content_for, ensure, rules_at, to_compare
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

PATTERNS = "acme.com *.acme.com *.sub.acme.com ana@acme.com bo@sub.acme.com"
ADDRESSES = "ana@acme.com eve@acme.com bo@sub.acme.com cy@sub.acme.com dee@a.sub.acme.com x@y.example"


def rejecting(*lists, **when):
    when = Conditions(lists_except=frozenset(one.pk for one in lists), **when)
    return PolicyRule(id="r", name="R", when=when, then=Effects(reject="No"))


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
    one, two, three = (make_list("acme.com", name=name) for name in "abc")
    for at, days in ((one, 1), (two, 2)):
        at.entries.update(expires_at=now + timedelta(days=days))
    both = rejecting(one), rejecting(two)
    for rules, days in (
        ([rejecting(one, two)], 2),
        (both, 1),
        ([rejecting(one, three)], 0),
    ):
        [end] = content(*rules, now=now)[1].values()
        assert end == (written_time(now + timedelta(days=days)) if days else NEVER)
    assert content(*both, now=now + timedelta(days=1))[1] == {}


def test_mode_of_a_gate_is_the_strictest_that_its_rules_ask(mailbox):
    at = make_list("acme.com")
    counting, rule = rejecting(at, contacts_count=True), rejecting(at)
    everything = PolicyRule(id="all", name="All", then=Effects(reject="No"))
    assert rules_at(mailbox, [everything]) == [everything]
    modes = [
        content(*rules)[0] for rules in ([], [counting] * 2, [counting, rule], [rule])
    ]
    assert modes == ["off", "contacts", "enforce", "enforce"]
    assert content(everything, rule) == ("enforce", {})


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
        tasks.sweep()
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


@pytest.mark.parametrize(
    ("asks", "about"),
    [
        (lambda box, at: {}, "main other"),
        (lambda box, at: {"mailboxes": [box], "only_these": True}, "other"),
        (lambda box, at: {"words": ["rose"]}, ""),
        (lambda box, at: {"lists": [at]}, ""),
    ],
)
def test_rules_of_a_gate_ask_about_lists_and_mailboxes_alone(connection, asks, about):
    boxes = {
        "main": connection.mailboxes.get(),
        "other": make_connection("other").mailboxes.get(),
    }
    at = make_list()
    reject_others(at, **asks(boxes["other"].pk, at.pk))
    rules = active_policy().rules
    assert [one for one in boxes if rules_at(boxes[one], rules)] == about.split()
    ensure()
    assert GateList.objects.count() == len(about.split())
