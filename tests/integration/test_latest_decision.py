"""A message with several decisions: an unconfirmed one stays visible behind a newer one
without effect.
"""

import json

from approvals.decisions.status import status_of
from approvals.desk_messages import desk_messages, latest_decision
from approvals.models import Decision, Verdict
from dashboard.live import CHANNEL
from tests.factories import make_message
from tests.integration.deciding import decide, make_decision, undo


def test_status_after_an_undone_reject_still_says_that_the_withdrawn_approval_may_be_sent(
    connection, reviewer
):
    message = make_message(connection)
    for outcome, state in (("approve", "withdrawn"), ("reject", "undone")):
        make_decision(
            message, reviewer, state, outcome, may_have_left=outcome == "approve"
        )
    for ended in ("undone", "refused"):
        Decision.objects.filter(outcome="reject").update(state=ended)
        shown = desk_messages().for_list().get()
        assert status_of(shown, latest_decision(shown)).word == "May still be sent", (
            ended
        )


def test_hint_says_that_a_withdrawn_approval_may_be_sent_despite_a_later_reject(
    connection, reviewer, monkeypatch, django_capture_on_commit_callbacks
):
    message = make_message(connection)
    decide(message, reviewer)
    Decision.objects.update(state="withdrawn", attempt=1, may_have_left=True)
    Verdict.objects.update(live=False)
    decide(message, reviewer, "reject")
    sent = []
    monkeypatch.setattr("dashboard.live.hints.send", lambda *words: sent.append(words))
    with django_capture_on_commit_callbacks(execute=True):
        undo(message, reviewer)
    last = [
        json.loads(hint)
        for verb, channel, hint in sent
        if (verb, channel) == ("PUBLISH", CHANNEL)
    ][-1]
    assert last["action"] == "decision.undone"
    assert last["word"] == "May still be sent"
