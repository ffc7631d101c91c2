"""Makes a record of decisions and signs standing approvals, for tests."""

from dataclasses import replace
from datetime import timedelta

from django.db.models import F
from django.db.models.functions import Now

from approvals.models import Decision, Verdict
from approvals.standing.commands import sign_standing
from approvals.standing.record import Terms
from common.postgres import clock
from mirror.models import Message
from people.models import OrganisationSettings
from policy.models import StandingApproval
from tests.factories import actor_of, make_message
from tests.integration.deciding import decide

KEY = {"sent_by_key": "01KEY", "sent_by_key_name": "Refund bot", "metadata": {}}


def make_refund(connection, number=4471, **fields):
    """Make a held message of the class that the record is about."""
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
    """Let people have decided so many such messages, one every day until yesterday;
    return them, the oldest first.
    """
    made = [make_refund(connection, 4023, **fields) for _ in range(number)]
    state = "sent" if outcome == "approve" else "rejected"
    for place, message in enumerate(made):
        person = people[place % len(people)]
        decide(message, person, outcome, "" if outcome == "approve" else "No")
        ago = Now() - timedelta(days=number - place)
        Decision.objects.filter(message=message).update(
            state="applied", recorded_at=ago, changed_at=ago
        )
        Verdict.objects.filter(message=message).update(seconds_shown=9, live=False)
        Message.objects.filter(pk=message.pk).update(
            state=state, held_at=ago - timedelta(minutes=5), changed_at=ago
        )
        message.refresh_from_db()
    return made


def switch_on():
    """Let standing approvals approve."""
    OrganisationSettings.objects.update_or_create(
        pk=1, defaults={"standing_since": Now()}
    )


def terms(**fields):
    """Return usual terms."""
    return Terms(
        **{"ends_at": clock() + timedelta(days=90), "cap_an_hour": 50, **fields}
    )


def sign(like, first, second, **fields):
    """Sign a standing approval for messages like this one, as if the second admin had
    accepted it.
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
    """Let the next message of each ten be no sample."""
    standing.refresh_from_db()
    if standing.met % 10 == 0:
        # The place of the sample is drawn with the first of ten.
        StandingApproval.objects.filter(pk=standing.pk).update(
            met=F("met") + 1, sample_at=0
        )
