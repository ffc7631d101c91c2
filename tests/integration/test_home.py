"""The home page: waiting times, decisions and findings within the visible scope."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from approvals.models import Decision, Review, Verdict
from dashboard.home import panels_for
from mirror.models import Message
from tests.factories import (
    change_row,
    make_connection,
    make_message,
    make_person,
)
from tests.integration.deciding import make_decision

pytestmark = pytest.mark.usefixtures("people_shown")


def panels(person):
    """The cards by name, without the rest of the page."""
    return {one.name: one for one in panels_for(person.actor(surface="web"))}


def rows(person):
    return {name: list(one.rows) for name, one in panels(person).items()}


@pytest.fixture
def decided(connection):
    """Return a function that makes a message on which this person decided, by its rows
    alone.
    """
    shown = make_message(connection).revision

    def make(person, outcome="approve", *, seconds_shown=None, rules=(), **fields):
        message = make_message(connection, hydrated=False)
        about = {"message": message, "revision": shown, "outcome": outcome}
        Verdict.objects.create(
            **about, person=person, surface="web", seconds_shown=seconds_shown
        )
        message.revision = shown
        given_by = fields.pop("given_by", person)
        make_decision(message, given_by, "applied", outcome, **fields)
        state = "approved" if outcome == "approve" else "rejected"
        change_row(message, state=state)
        change_row(message.review, rules=list(rules))
        return message

    return make


@pytest.mark.slow
def test_only_the_last_week_and_visible_messages_are_counted(
    reviewer, auditor, mailbox, decided
):
    other = make_connection("other")
    decided(reviewer, "reject")
    hidden = decided(reviewer, "reject")
    change_row(hidden, connection=other, mailbox=other.mailboxes.get())
    Review.objects.update(rules=["link_text_lies"])
    Message.objects.filter(state="held").update(state="gone")
    make_message(other)
    person = make_person("x@yourteam.example", "X", "auditor", mailbox=mailbox)
    seen = rows(person)
    assert seen["waits"] == []
    assert seen["caught"] == [("Misleading link", "1", "0")]
    assert seen["people"][0][1] == "1"
    assert "median" in panels(person)["times"].empty
    Decision.objects.update(recorded_at=Now() - timedelta(days=8))
    Verdict.objects.update(given_at=Now() - timedelta(days=8))
    assert rows(auditor) | {"waits": []} == {name: [] for name in seen}
    assert "No decisions" in panels(auditor)["times"].empty
