"""A sweep does those duties that have something to do, whatever becomes of the others."""

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from alerts import tasks as alerts
from approvals import tasks
from approvals.decisions import by_rule
from approvals.operations.attention import attention_for
from common.postgres import clock
from common.sweeps import do_all, duty
from gateway import tasks as gateway
from mirror.models import Message
from tests.factories import actor_of, make_message
from tests.integration.deciding import expires


def fail(_):
    raise ValueError


@pytest.mark.parametrize(
    ("sweep", "duties"), [(tasks.sweep, 39), (alerts.sweep, 6), (gateway.sweep, 13)]
)
def test_sweep_with_nothing_to_do_asks_once_for_each_duty_and_writes_nothing(
    sweep, duties
):
    sweep()
    with CaptureQueriesContext(database) as queries:
        sweep()
    kinds = [one["sql"].split()[0] for one in queries.captured_queries]
    assert kinds.count("SELECT") <= duties
    assert kinds.count("UPDATE") == 0
    assert kinds.count("DELETE") == 0


def test_duty_that_fails_and_question_that_fails_keep_no_other_from_its_work(
    connection,
):
    first = make_message(connection)
    second = make_message(connection)
    rows = Message.objects.order_by("pk")
    done = []
    duties = {
        "none": duty(rows.none, done.append),
        "failing": duty(rows.all, fail),
        "bad": duty(lambda: rows.extra(where=["no_such_column"]), done.append),
        "some": duty(rows.all, lambda keys: keys, most=2),
    }
    result = do_all(duties)
    assert done == []
    assert result.done == {"some": [first.pk, second.pk]}
    assert result.failed == ["failing", "bad"]


def test_sweep_expires_the_others_when_one_fails_and_that_one_is_seen(
    connection, reviewer, monkeypatch
):
    before, stuck, after = (make_message(connection) for _ in range(3))
    expires(minutes=-2)
    decide = by_rule.decide_by_rule

    def fail_once(locked, **asked):
        if locked == stuck:
            raise ValueError
        return decide(locked, **asked)

    monkeypatch.setattr(by_rule, "decide_by_rule", fail_once)
    assert by_rule.expire_due() == 2
    decided = [message.decisions.count() for message in (before, stuck, after)]
    assert decided == [1, 0, 1]
    listed = attention_for(actor_of(reviewer), clock())
    assert [one.message for one in listed if one.kind == "overdue"] == [stuck]
