"""Makes a record of decisions and signs standing approvals, for tests."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db.models import F
from django.db.models.functions import Now

from approvals.models import Decision
from approvals.standing.signing import Terms, sign_standing
from common.postgres import clock
from mirror.models import Connection, Message
from people.models import OrganisationSettings, Person
from policy.models import StandingApproval
from tests.factories import make_message
from tests.integration.deciding import decide

KEY = {"sent_by_key": "01KEY", "sent_by_key_name": "Refund bot", "metadata": {}}


def make_refund(connection: Connection, number: int = 4471, **fields: Any) -> Message:
    """Make a held message of the class that the record is about."""
    markdown = f"Hello Dana,\n\nyour refund of {number / 100:.2f} EUR for order {number} is on its way."
    return make_message(
        connection, **{"subject": f"Your refund for order {number}", "markdown": markdown, **KEY, **fields}
    )


def make_record(
    connection: Connection, *people: Person, number: int = 24, outcome: str = "approve", **fields: Any
) -> list[Message]:
    """Let people decide so many such messages, one every day until yesterday; return them."""
    made = []
    for place in range(number):
        message = make_refund(connection, 4000 + place, **fields)
        decision = decide(message, people[place % len(people)], outcome, "" if outcome == "approve" else "No").decision
        ago = timedelta(days=number - place)
        Decision.objects.filter(pk=decision.pk).update(state="applied", recorded_at=Now() - ago, changed_at=Now() - ago)
        state = "sent" if outcome == "approve" else "rejected"
        Message.objects.filter(pk=message.pk).update(
            state=state, held_at=Now() - ago - timedelta(minutes=5), changed_at=Now() - ago
        )
        message.verdicts.update(seconds_shown=9, live=False)
        made.append(message)
    return made


def switch_on() -> None:
    """Let standing approvals approve."""
    OrganisationSettings.objects.update_or_create(pk=1, defaults={"standing_since": Now()})


def terms(**fields: Any) -> Terms:
    """Return usual terms."""
    return Terms(**{"ends_at": clock() + timedelta(days=90), "cap_an_hour": 50, **fields})


def sign(like: Message, first: Person, second: Person, **fields: Any) -> StandingApproval:
    """Sign a standing approval for messages like this one, as if the second admin had accepted it."""
    actor = replace(Person.objects.get(pk=first.pk).actor(surface="web"), second=str(second.pk))
    return sign_standing(
        actor=actor, mailbox=like.mailbox_id, key=like.sent_by_key, shape=like.shape, terms=terms(**fields)
    )


def let_through(standing: StandingApproval) -> None:
    """Let the next message of each ten be no sample."""
    standing.refresh_from_db()
    if standing.met % 10 == 0:
        # The place of the sample is drawn with the first of ten.
        StandingApproval.objects.filter(pk=standing.pk).update(met=F("met") + 1, sample_at=0)
