"""What people read of the policy is what counts: no other thing has the same words, and a
rule says what is new to it.
"""

from dataclasses import replace

import pytest

from policy.models import Group, WorkCalendar
from policy.rules.conditions import Conditions, MessageFacts
from policy.rules.facts import api_keys, names_for, with_known
from policy.rules.rules import Effects, PolicyRule
from simple_form.declarations import rows
from tests.factories import actor_of, make_list, make_message
from tests.markup import says


@pytest.mark.parametrize("named", ["mailboxes", "keys"])
def test_rule_takes_in_what_is_added_to_its_connection_unless_its_sentence_says_not(
    connection, named
):
    box = connection.mailboxes.get()
    make_message(connection, sent_by_key="k1")
    values = {
        "mailboxes": frozenset({box.pk}),
        "keys": frozenset({f"{connection.pk}:k1"}),
    }
    when = Conditions(**{named: values[named]})
    rule = PolicyRule("a", "A", when, Effects(care=True))
    first = with_known(rule)
    news = connection.mailboxes.create(upstream_id="n", address="news@x.example")
    make_message(connection, sent_by_key="k2")
    # Whoever ticks "Only these", saves, and unticks it leaves out no more than before.
    only = with_known(replace(first, when=replace(first.when, only_these=True)))
    again = with_known(replace(only, when=replace(only.when, only_these=False)))
    assert again == first
    facts = MessageFacts(connection.pk, mailbox=news.pk, key=f"{connection.pk}:k2")
    assert again.when.apply_to(facts)
    assert not only.when.apply_to(facts)
    # Whoever makes it anew does, and its sentence says so.
    anew = with_known(rule)
    assert not anew.when.apply_to(facts)
    left_out = {"mailboxes": "news@x.example", "keys": "[k2]"}[named]
    assert f"later (not {left_out})" in anew.sentence(names_for())


def test_keys_that_look_alike_are_told_apart(connection, admin):
    for key, name in (
        ("01A", "Demo agent"),
        ("01B", "Dem\u043e agent"),
        ("01C", "Demo  agent."),
        ("01D", "Demo agent [01A]"),
    ):
        make_message(connection, sent_by_key=key, sent_by_key_name=name)
        names = api_keys(actor_of(admin))
        assert names[f"{connection.pk}:{key}"] == f"{name} [{key}]"


# Where a name is typed, what the page answers, a name that is taken, and what looks like
# it. The sentences of rules join names by commas and "or".
ALIKE = """
policy/groups/add  looks like it  Finance  finance  Fin\u0430nce  Finan\u200bce  Fi\u043fance  Fin ance.
  Sales or finance  Finance, Sales
policy/hours/add   looks like it        Office        \u041effice
allowlists/add     looks like it        Customers     Cust\u043emers
people/me          tells you two apart  Ana Ferreira  ANA FERREIRA  \u0410na Ferreira
"""


def test_groups_calendars_lists_and_people_do_not_look_alike(
    signed_in, admin, reviewer
):
    client = signed_in(admin)
    Group.objects.create(name="Finance")
    WorkCalendar.objects.create(name="Office", zone="UTC", weekly=[[]] * 7)
    make_list(name="Customers")
    for path, why, *names in rows(ALIKE):
        for name in names:
            typed = {"name": name, "zone": "UTC", "day-0": "9:00-17:00", "place": "all"}
            says(client.post(f"/{path}/", typed), 422, why)
