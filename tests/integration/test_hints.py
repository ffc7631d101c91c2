"""Live hints: what open pages are told of an act says the same as the pages themselves."""

import json
import time

import pytest

import dashboard.celery  # noqa: F401 - the app that nudges are sent with
from approvals.decide import undo_decision
from approvals.models import Decision, Verdict
from common import nudge
from dashboard.channel import CHANNEL
from tests.factories import NOW, event_body, make_connection, make_message, make_person, post_event
from tests.integration.deciding import decide

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hints():
    """Return a function that gives the hints sent since, once one of this action is there."""
    nudge._rests_until = 0.0
    listener = nudge.quick_redis().pubsub()
    listener.subscribe(CHANNEL)
    assert listener.get_message(timeout=5)

    def until(action):
        nudge.flush()
        heard, deadline = [], time.monotonic() + 5
        while time.monotonic() < deadline:
            told = listener.get_message(ignore_subscribe_messages=True, timeout=0.5)
            if told:
                heard.append(json.loads(told["data"]))
            if heard and heard[-1]["action"] == action:
                return heard
        raise AssertionError(f"no hint of {action}, but of {[one['action'] for one in heard]}")

    yield until
    listener.close()


def test_hint_of_mail_that_left_after_all_says_so_although_a_reject_was_given_since(client, hints):
    ana = make_person("ana@yourteam.example", "Ana Ferreira", "reviewer")
    connection = make_connection()
    message = make_message(connection)
    approve = decide(message, ana).decision
    Decision.objects.update(state="withdrawn", attempt=1, may_have_left=True)
    Verdict.objects.update(live=False)
    decide(message, ana, "reject")
    reason = f"[countersign:{approve.reference}]"
    post_event(client, connection, event_body("oversight.approved", email_id=message.upstream_id, reason=reason))
    told = hints("message.approved")
    assert [one["action"] for one in told if one["tone"] == "rose"] == [
        "decision.left_after_all", "decision.superseded", "message.approved",
    ]  # fmt: skip
    last = told[-1]
    assert (last["word"], last["detail"]) == ("Approved", "Left after all, although it was withdrawn")


def test_hint_after_an_undone_reject_still_says_that_the_withdrawn_approval_may_leave(hints):
    ana = make_person("ana@yourteam.example", "Ana Ferreira", "reviewer")
    message = make_message(make_connection())
    decide(message, ana)
    Decision.objects.update(state="withdrawn", attempt=1, may_have_left=True)
    Verdict.objects.update(live=False)
    decide(message, ana, "reject")
    undo_decision(message=message.public_id, actor=ana.actor(surface="web"), now=NOW)
    assert hints("decision.undone")[-1]["word"] == "May still leave"
