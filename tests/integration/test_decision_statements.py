"""A verdict and an execution take few statements, with their recording; a worker plans
the cards after.
"""

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from alerts import tasks
from alerts.deliveries.planning import plan_waiting
from approvals.decisions.decide import give_verdict
from approvals.decisions.execute import run_decision
from mirror.models import Message
from tests import alerting
from tests.factories import actor_of, make_connection, make_message, pending_row
from tests.integration.deciding import carry_out, make_due

# With BEGIN, COMMIT and savepoints, because each is sent to PostgreSQL.
pytestmark = pytest.mark.django_db(transaction=True)


def test_verdict_and_execution_of_an_ordinary_message_with_a_card_take_few_statements(
    upstream, discord, reviewer, monkeypatch
):
    connection = make_connection(api_url=upstream.url)
    discord.destination(1, actions=("message.held",))
    first, second = (make_message(connection) for _ in range(2))
    alerting.work_to_the_end()
    upstream.holds(pending_row(first.upstream_id), pending_row(second.upstream_id))
    upstream.decides(200, status="approved_and_sent", decision="approved")
    # The first execution checks the connection's key too.
    assert carry_out(first, reviewer) == "applied"
    monkeypatch.setattr(tasks.plan, "delay_on_commit", lambda: None)
    shown = Message.objects.with_content().get(pk=second.pk)
    actor = actor_of(reviewer)
    with CaptureQueriesContext(database) as verdict:
        given = give_verdict(
            message=shown.public_id,
            actor=actor,
            outcome="approve",
            fingerprint=shown.revision.fingerprint,
            reason="",
        )
    make_due()
    with CaptureQueriesContext(database) as execution:
        assert run_decision(decision_id=given.decision.pk) == "applied"
    assert len(verdict) == 27
    assert len(execution) == 34
    with CaptureQueriesContext(database) as planning:
        assert plan_waiting() == 2
    assert len(planning) == 20
