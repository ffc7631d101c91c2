"""An idle transaction blocks every seal, which is reported, until the server ends it."""

from datetime import timedelta

import psycopg
import psycopg.conninfo
import pytest
from django.db import connection

from audit.models import Entry
from audit.sealing.sealer import seal_all
from audit.sealing.status import sealing_state
from common.postgres import clock
from dashboard.management.commands.prepare import Command
from tests.ledger import append, check_chain

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def application_url(settings, monkeypatch):
    """The address of the tests' own database, whose sessions may sit in a transaction
    for a moment only.
    """
    params = connection.get_connection_params()
    url = psycopg.conninfo.make_conninfo(
        host=params["host"], dbname=params["dbname"], user=params["user"]
    )
    settings.OWN_DATABASE_URL = url
    monkeypatch.setattr("dashboard.management.commands.prepare.LONGEST_IDLE", "700ms")
    Command()._set_role_defaults()
    yield url
    with connection.cursor() as cursor:
        name = connection.ops.quote_name(params["dbname"])
        cursor.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {name} RESET ALL")


def test_idle_transaction_holds_the_seals_up_is_named_and_is_ended(application_url):
    with psycopg.connect(application_url, application_name="sleeper") as session:
        session.execute("SELECT pg_current_xact_id()")
        append(3)
        assert seal_all() == 0
        state = sealing_state(clock() + timedelta(minutes=2))
        assert state.is_late
        assert f"process {session.info.backend_pid} (sleeper), open since" in state.why
        # Waits for the end that the server makes.
        with pytest.raises(psycopg.Error):
            next(session.notifies(timeout=20), None) or session.execute("SELECT 1")
    assert seal_all() == 3
    assert check_chain()[-1].size == Entry.objects.count()


def test_open_transaction_that_only_reads_holds_nothing_up(application_url):
    with psycopg.connect(application_url) as session:
        session.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        session.execute("SELECT count(*) FROM audit_entry")
        append(3)
        assert seal_all() == 3
        session.rollback()
