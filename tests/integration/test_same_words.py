"""What people read of the policy is what counts: no other thing has the same words."""

from dataclasses import replace

import pytest

from people.accounts.profile import change_profile
from people.errors import NameTaken
from people.roles import GrantTarget
from policy.errors import PolicyRefused
from policy.rules.changes import add_allowlist, save_calendar, save_group
from policy.rules.conditions import MessageFacts, from_json
from policy.rules.facts import api_keys, names_for, with_known
from policy.rules.rules import PolicyRule
from tests.factories import actor_of, make_message


def test_rule_names_what_it_leaves_out_of_a_connection(connection, admin):
    box = connection.mailboxes.get()
    rule = from_json(
        PolicyRule,
        {
            "id": "a",
            "name": "A",
            "when": {"mailboxes": [box.pk]},
            "then": {"care": True},
        },
    )
    first = with_known(rule)
    news = connection.mailboxes.create(upstream_id="n", address="news@x.example")
    # Whoever ticks "Only these", saves, and unticks it leaves out no more than before.
    only = with_known(replace(first, when=replace(first.when, only_these=True)))
    again = with_known(replace(only, when=replace(only.when, only_these=False)))
    assert again == first
    facts = MessageFacts(connection=connection.pk, mailbox=news.pk)
    assert again.when.apply_to(facts)
    assert not only.when.apply_to(facts)
    # Whoever makes it anew does, and its sentence says so.
    anew = with_known(rule)
    assert not anew.when.apply_to(facts)
    assert "later (not news@x.example)" in anew.sentence(names_for())


def test_keys_that_look_alike_are_told_apart(connection, admin):
    for key, name in (
        ("01A", "Demo agent"),
        ("01B", "Dem\u043e agent"),
        ("01C", "Bot"),
        ("01D", "Demo  agent."),
        ("01E", "Demo agent [01A]"),
    ):
        make_message(connection, sent_by_key=key, sent_by_key_name=name)
    names = sorted(api_keys(actor_of(admin)).values())
    alike = [
        "Demo  agent. [01D]",
        "Demo agent [01A]",
        "Demo agent [01A] [01E]",
        "Dem\u043e agent [01B]",
    ]
    assert names == ["Bot [01C]", *alike]


def test_groups_calendars_lists_and_people_do_not_look_alike(admin, reviewer):
    actor = actor_of(admin)
    save_group(actor=actor, name="Finance", members=[])
    add_allowlist(actor=actor, target=GrantTarget(), name="Customers")
    hours = {"zone": "UTC", "weekly": [[]] * 7, "holidays": {}, "actor": actor}
    save_calendar(name="Office", **hours)
    for name in (
        "finance",
        "Fin\u0430nce",
        "Finan\u200bce",
        "Fi\u043fance",
        "Fin ance.",
        # The sentences of rules join names so.
        "Sales or finance",
        "Finance, Sales",
    ):
        with pytest.raises(PolicyRefused, match="“Finance” already"):
            save_group(actor=actor, name=name, members=[])
    with pytest.raises(PolicyRefused, match="“Customers” already"):
        add_allowlist(actor=actor, target=GrantTarget(), name="Cust\u043emers")
    with pytest.raises(PolicyRefused, match="“Office” already"):
        save_calendar(name="\u041effice", **hours)
    with pytest.raises(NameTaken):
        change_profile(
            actor=actor,
            name=reviewer.name.replace("a", "\u0430"),
            zone="UTC",
            away_first=None,
            away_last=None,
        )
