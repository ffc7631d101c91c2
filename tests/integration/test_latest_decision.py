"""What is shown of a message with several decisions: doubt is never hidden behind a newer one that came to nothing."""

import pytest
from django.db.models.functions import Now

from approvals.deciding.status import status_of
from approvals.models import Decision, Message
from tests.factories import make_message

pytestmark = pytest.mark.django_db


def test_status_after_an_undone_reject_still_says_that_the_withdrawn_approve_may_leave(connection, reviewer):
    message = make_message(connection)
    for number, (outcome, state) in enumerate([("approve", "withdrawn"), ("reject", "undone")]):
        Decision.objects.create(
            message=message, revision=message.revision, outcome=outcome, state=state, reference=f"REFERENCE{number}",
            given_by=reviewer, due_at=Now(), may_have_left=outcome == "approve",
        )  # fmt: skip
    for ended in ("undone", "refused"):
        Decision.objects.filter(outcome="reject").update(state=ended)
        shown = Message.objects.for_list().get()
        assert status_of(shown, shown.latest_decision).word == "May still leave", ended
