"""Makes standing approvals for tests, and decided messages as their record."""

from dataclasses import replace
from datetime import timedelta

from django.db.models import F
from django.db.models.functions import Now

from approvals.models import Decision, Verdict
from approvals.standing.commands import sign_standing
from approvals.standing.record import Terms
from common.postgres import clock
from people.models import OrganisationSettings
from tests.factories import actor_of, change_row, make_message
from tests.integration.deciding import decide

KEY = {"sent_by_key": "01KEY", "sent_by_key_name": "Refund bot", "metadata": {}}


def make_refund(connection, number=4471, **fields):
    """Make a held message of the kind for which tests sign standing approvals."""
    markdown = f"Hello Dana,\n\nyour refund of {number / 100:.2f} EUR for order {number} is on its way."
    return make_message(
        connection,
        **{
            "subject": f"Your refund for order {number}",
            "markdown": markdown,
            **KEY,
            **fields,
        },
    )


def make_record(connection, *people, number=3, outcome="approve", **fields):
    """Make this many messages that people decided in turn, one each day until
    yesterday. Return them, the oldest first.
    """
    made = [make_refund(connection, 4023, **fields) for _ in range(number)]
    state = "sent" if outcome == "approve" else "rejected"
    for day, message in enumerate(made):
        person = people[day % len(people)]
        decide(message, person, outcome, "" if outcome == "approve" else "No")
        ago = Now() - timedelta(days=number - day)
        Decision.objects.filter(message=message).update(
            state="applied", recorded_at=ago, changed_at=ago
        )
        Verdict.objects.filter(message=message).update(seconds_shown=9, live=False)
        change_row(
            message, state=state, held_at=ago - timedelta(minutes=5), changed_at=ago
        )
        message.refresh_from_db()
    return made


def switch_on():
    """Switch standing approvals on."""
    OrganisationSettings.objects.update_or_create(
        pk=1, defaults={"standing_since": Now()}
    )


def terms(**fields):
    """Return usual terms of a standing approval."""
    return Terms(
        **{"ends_at": clock() + timedelta(days=90), "cap_an_hour": 50, **fields}
    )


def sign(like, first, second, **fields):
    """Sign a standing approval for messages like this one, as the `first` admin, with
    the consent of the `second`.
    """
    actor = replace(actor_of(first), second=str(second.pk))
    return sign_standing(
        actor=actor,
        mailbox=like.mailbox_id,
        key=like.sent_by_key,
        shape=like.shape,
        terms=terms(**fields),
    )


def let_through(standing):
    """Make sure that the next message is no sample for a person."""
    standing.refresh_from_db()
    if standing.met % 10 == 0:
        # The first of each ten messages draws which one is the sample: skip that draw.
        change_row(standing, met=F("met") + 1, sample_at=0)
