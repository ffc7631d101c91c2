"""The duties of a sweep fail independently: a database error in one does not stop the
others.
"""

import json
from datetime import timedelta

import pytest
import redis
from django.conf import settings
from django.db import connection as database
from django.db.models.functions import Now

from approvals import tasks
from approvals.models import Decision
from approvals.operations.attention import attention_for
from common.postgres import clock
from tests.factories import actor_of, change_row, make_message
from tests.integration.deciding import make_decision


def refuse(when):
    """Make PostgreSQL refuse every write of such a decision, as a constraint or a
    broken index would.
    """
    with database.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'this row cannot be written'; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON approvals_decision"
            f" FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION refuse()"
        )


def abandoned(connection, person):
    message = make_message(connection)
    over = Now() - timedelta(minutes=1)
    return make_decision(
        message, person, "calling", attempt=1, may_have_left=True, lease_until=over
    )


def overdue(connection):
    message = make_message(connection)
    change_row(message, expires_at=Now() - timedelta(minutes=2))
    return message


def test_other_duties_are_done_when_one_fails(
    connection, reviewer, caplog, django_capture_on_commit_callbacks
):
    broker = redis.Redis.from_url(settings.REDIS_URL)
    broker.delete("sync")
    decision = abandoned(connection, reviewer)
    message = make_message(connection, hydrated=False)
    with database.cursor() as cursor:
        cursor.execute("ALTER TABLE approvals_snooze RENAME TO away")
    with django_capture_on_commit_callbacks(execute=True):
        assert tasks.sweep() == "swept, but for: put off"
    assert [
        record.duty
        for record in caplog.records
        if record.message == "duty of the sweep failed"
    ] == ["put off"]
    decision.refresh_from_db()
    assert decision.state == "unknown"
    sent = [json.loads(raw)["headers"] for raw in broker.lrange("sync", 0, -1)]
    broker.delete("sync")
    assert ("approvals.tasks.hydrate", str(message.pk)) in [
        (one["task"], one["argsrepr"].strip("[](),")) for one in sent
    ]


@pytest.mark.slow
def test_sweep_takes_up_the_other_abandoned_when_one_cannot_be_written(
    connection, reviewer
):
    first, second = (abandoned(connection, reviewer) for _ in range(2))
    refuse("NEW.reference = 'R0'")
    assert tasks.sweep() == "swept"
    states = dict(Decision.objects.values_list("pk", "state"))
    assert states[first.pk] == "calling"
    assert states[second.pk] == "unknown"


def test_sweep_expires_the_others_when_one_cannot_be_written_and_that_one_is_seen(
    connection, reviewer, caplog
):
    before, stuck, after = (overdue(connection) for _ in range(3))
    refuse(f"NEW.rule = 'expiry' AND NEW.message_id = {stuck.pk}")
    assert tasks.sweep() == "swept"
    assert [message.decisions.count() for message in (before, stuck, after)] == [
        1,
        0,
        1,
    ]
    warnings = [
        record for record in caplog.records if record.message == "message not expired"
    ]
    assert [
        (record.email, "cannot be written" in str(record.exc_info[1]))
        for record in warnings
    ] == [(stuck.upstream_id, True)]
    [listed] = [
        one
        for one in attention_for(actor_of(reviewer), clock())
        if one.kind == "overdue"
    ]
    assert listed.message == stuck
    assert listed.act.label == "Open it"
