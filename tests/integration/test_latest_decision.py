"""A message with several decisions: no list and no live hint hides doubt behind a newer one that came to nothing."""

import json

import pytest
from django.db.models.functions import Now

from approvals.decide import undo_decision
from approvals.deciding.status import status_of
from approvals.models import Decision, Message, Verdict
from dashboard.channel import CHANNEL
from tests.factories import NOW, event_body, make_message, post_event
from tests.integration.deciding import decide

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


@pytest.fixture
def hints(monkeypatch, django_capture_on_commit_callbacks):
    """Return a function that does an act and returns the hints that were sent once it was stored."""

    def after(act):
        sent = []
        with monkeypatch.context() as patched:
            patched.setattr("dashboard.hints.send", lambda *words: sent.append(words))
            with django_capture_on_commit_callbacks(execute=True):
                act()
        return [json.loads(hint) for verb, channel, hint in sent if (verb, channel) == ("PUBLISH", CHANNEL)]

    return after


@pytest.mark.slow
def test_hint_says_that_a_withdrawn_approval_may_leave_and_that_it_left_although_a_reject_was_given_since(
    client, hints, connection, reviewer
):
    message = make_message(connection)
    approval = decide(message, reviewer).decision
    Decision.objects.update(state="withdrawn", attempt=1, may_have_left=True)
    Verdict.objects.update(live=False)
    decide(message, reviewer, "reject")
    undo = {"message": message.public_id, "actor": reviewer.actor(surface="web"), "now": NOW}
    last = hints(lambda: undo_decision(**undo))[-1]
    assert (last["action"], last["word"]) == ("decision.undone", "May still leave")

    decide(message, reviewer, "reject")
    reason = f"[countersign:{approval.reference}]"
    report = event_body("oversight.approved", email_id=message.upstream_id, reason=reason)
    told = hints(lambda: post_event(client, connection, report))
    assert [one["action"] for one in told if one["tone"] == "rose"] == [
        "decision.left_after_all", "decision.superseded", "message.approved",
    ]  # fmt: skip
    assert (told[-1]["word"], told[-1]["detail"]) == ("Approved", "Left after all, although it was withdrawn")
