"""A sweep does those duties that have something to do, whatever becomes of the others."""

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from alerts import tasks as alerts
from approvals import tasks
from common.sweeps import do_all, duty
from gateway import tasks as gateway
from mirror.models import Message
from tests.factories import make_message


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
