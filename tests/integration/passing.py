"""Makes passes for tests, signed by two admins."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from common.postgres import clock
from policy.models import PolicyVersion
from policy.rules.changes import activate_draft, begin_draft
from policy.rules.rules import Pass
from tests.factories import actor_of, make_list


def make_pass(mailbox, **fields):
    """Return a pass for refunds of the mailbox to a list that names Dana."""
    named = make_list("dana@northwind.example", connection=mailbox.connection)
    usual = Pass(
        id="refunds",
        name="Refunds",
        keys=frozenset({f"{mailbox.connection_id}:01KEY"}),
        mailboxes=frozenset({mailbox.pk}),
        lists=frozenset({named.pk}),
        ends_at=clock().replace(microsecond=0) + timedelta(days=90),
        a_day=50,
        most=Decimal(100),
        currency="EUR",
    )
    return replace(usual, **fields)


def activate(first, second, *parts):
    """Activate a version with these rules and passes, asked for by the `first` admin
    and accepted by the `second`, unless that is None.
    """
    PolicyVersion.objects.filter(state="draft").delete()
    draft = begin_draft(actor=actor_of(first), rules=parts, based_on=0)
    accepted_by = str(second.pk) if second else ""
    actor = replace(actor_of(first), second=accepted_by)
    return activate_draft(actor=actor, seen=draft.seen)
