"""A sweep asks for all duties in one statement, and does those that have something to do, whatever the others do."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from alerts import tasks as alerts
from approvals import tasks
from common.postgres.statements import ValueQuery
from common.sweeps import Duty, Sweep
from gateway import tasks as gateway

pytestmark = pytest.mark.django_db


def fail(_):
    raise ValueError


@pytest.mark.parametrize("sweep", [tasks.sweep, alerts.sweep, gateway.sweep])
def test_sweep_with_nothing_to_do_sends_one_statement(sweep):
    sweep()
    with CaptureQueriesContext(connection) as queries:
        sweep()
    assert [one["sql"].split()[0] for one in queries.captured_queries] == ["SAVEPOINT", "SELECT", "RELEASE"]


def test_duty_that_fails_and_question_that_fails_keep_no_other_from_its_work():
    questions = {"none": "false", "some": "ARRAY[1, 2]", "bad": "(SELECT no_such_column)", "more": "true"}
    done = []
    duties = {name: Duty(lambda sql=sql: ValueQuery(sql), done.append) for name, sql in questions.items()}
    result = Sweep({"failing": Duty(lambda: ValueQuery("true"), fail), **duties}).run()
    assert (done, result.failed) == ([[1, 2], True], ["failing", "bad"])
