"""Changes of the policy for the benchmark of rehearsals, and what each message by itself says to them."""

from datetime import time
from decimal import Decimal
from typing import Any

POLICIES = ("a policy of 20 rules put in", "one of 200 rules changed")


def changes_of_the_policy(mailboxes: list[int], list_id: int) -> dict[str, tuple[Any, Any]]:
    """Return the rules before and after, by what is changed."""
    whole, many = rules_about_all(mailboxes, list_id, 20), rules_about_all(mailboxes, list_id, 200)
    return {POLICIES[0]: ((), whole), POLICIES[1]: (many, many[1:])}


def rules_about_all(mailboxes: list[int], list_id: int, number: int) -> tuple[Any, ...]:
    """Return so many rules, which ask for everything that a rule can ask for."""
    from policy.rules.conditions import Conditions
    from policy.rules.effects import ANY_REVIEWER, Effects
    from policy.rules.hours import Hours
    from policy.rules.rules import PolicyRule

    office = Hours.on((0, 1, 2, 3, 4), time(8), time(18), "Europe/Lisbon")
    asked = (
        Conditions(amount=Decimal(2500), currency="EUR"),
        Conditions(risk="high", origins=frozenset({"discord"})),
        Conditions(outside=office, mailboxes=frozenset(mailboxes[:1])),
        Conditions(first_contact=True, recipients_from=2),
        Conditions(lists=frozenset({list_id}), tries_from=2),
        Conditions(attachments=frozenset({"pdf"}), recipients_except=("customer1.example", "customer2.example")),
        Conditions(findings=frozenset({"payment_details"}), during=office),
    )
    given = (Effects(approvals={ANY_REVIEWER: 2}), Effects(never_in_bulk=True), Effects(high_risk_page=True))
    found = []
    for place in range(number):
        when = asked[place] if place < len(asked) else Conditions(recipients=(f"customer{place}.example",))
        found.append(PolicyRule(f"r{place}", f"Rule {place}", when=when, then=given[place % 3]))
    return tuple(found)


def rehearsed_policy(actor: Any, before: Any, after: Any) -> tuple[int, int]:
    """Return what a rehearsal tells: how many messages it looked at, and of how many something else is asked."""
    from django.utils import timezone

    from policy.rules.rehearsal import rehearse

    result = rehearse(before=before, after=after, actor=actor, now=timezone.now())
    return result.looked_at, result.changed


def one_by_one(before: Any, after: Any) -> tuple[int, int]:
    """Return the same from every message by itself."""
    from mirror.models import Message
    from policy.rules.evaluation import required
    from policy.rules.lookups import lookups_for
    from policy.rules.rehearsal import asks

    recipients = {one for row in Message.objects.values_list("written_to", flat=True) for one in row or ()}
    lookups = lookups_for((*before, *after), recipients)
    looked_at = changed = 0
    for message in Message.objects.filter(revision__isnull=False).iterator():
        facts = lookups.facts(message, message.held_at)
        was, becomes = (asks(required(rules, facts).effects) for rules in (before, after))
        looked_at, changed = looked_at + 1, changed + (was != becomes)
    return looked_at, changed
