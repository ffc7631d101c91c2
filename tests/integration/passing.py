"""Makes passes for tests, signed by two admins, and messages that they send."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from django.db.models.functions import Now

from approvals.models import Decision, Verdict
from common.postgres import clock
from policy.models import PolicyVersion
from policy.rules.changes import activate_draft, begin_draft, policies
from policy.rules.conditions import Conditions
from policy.rules.rules import Pass
from tests.factories import actor_of, change_row, make_list, make_message
from tests.integration.deciding import decide

KEY = {"sent_by_key": "01KEY", "sent_by_key_name": "Refund bot", "metadata": {}}


def make_refund(connection, amount="39.99", **fields):
    """Make a held message of the kind for which tests sign passes."""
    text = f"Hello Dana,\n\nyour refund of {amount} EUR for order 4471 is on its way."
    return make_message(
        connection,
        **{"subject": "Your refund", "markdown": text, **KEY, **fields},
    )


def make_known(connection, person):
    """Make a message of yesterday that went out, so that nobody is a first contact."""
    message = make_refund(connection)
    decide(message, person)
    ago = Now() - timedelta(days=1)
    Decision.objects.filter(message=message).update(state="applied", changed_at=ago)
    Verdict.objects.filter(message=message).update(live=False)
    change_row(message, state="sent", held_at=ago, changed_at=ago)


def make_pass(mailbox, **fields):
    """Return a pass for refunds of the mailbox to a list that names Dana."""
    named = make_list("dana@northwind.example", connection=mailbox.connection)
    when = Conditions(
        keys=frozenset({f"{mailbox.connection_id}:01KEY"}),
        mailboxes=frozenset({mailbox.pk}),
        lists=frozenset({named.pk}),
    )
    usual = {
        "id": "refunds",
        "name": "Refunds",
        "when": when,
        "ends_at": clock().replace(microsecond=0) + timedelta(days=90),
        "a_day": 50,
        "most": Decimal(100),
        "currency": "EUR",
    }
    return Pass.from_json(Pass(**{**usual, **fields}).as_json())


def activate(first, second, *parts):
    """Activate a version with these rules and passes, asked for by the `first` admin
    and accepted by the `second`, unless that is None.
    """
    PolicyVersion.objects.draft().delete()
    draft = begin_draft(actor=actor_of(first), rules=parts, based_on=0)
    return activate_draft(
        actor=replace(actor_of(first), second=str(second.pk) if second else ""),
        edits=draft.edits,
        active=policies().active_number,
    )
