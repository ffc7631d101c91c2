"""One chain of seals, in another cluster, with a sealer that is killed anywhere, with
several at once, and beside an idle transaction that blocks every seal.
"""

import faulthandler
import json
import os
import signal
import subprocess
from datetime import timedelta

import psycopg
import psycopg.conninfo
import pytest
from django.conf import settings
from django.db import connection
from psycopg import sql

from audit.models import Entry, Seal
from audit.sealing import anchors
from audit.sealing.sealer import seal_all
from audit.sealing.status import sealing_state
from audit.tasks import seal
from common.postgres import clock, cluster_id
from dashboard.management.commands.prepare import Command
from launcher.postgres import DATABASE, OWNER, postgres_programs, temporary_servers
from tests.ledger import append, check_chain
from tests.moved import moved_to

pytestmark = pytest.mark.django_db(transaction=True)
# What pg_dump writes of a table, in the order in which references allow it.
TABLES = (
    "audit_entry", "audit_entrydetail", "audit_seal", "audit_sealedentry", "audit_anchor",
)  # fmt: skip


@pytest.fixture(scope="module")
def fresh_cluster(django_db_setup):
    """A cluster of its own making, with the product's tables and nothing in them."""
    here = settings.DATABASES["default"]
    source = [
        "--host",
        here["HOST"],
        "--username",
        OWNER,
        connection.settings_dict["NAME"],
    ]
    tables = subprocess.run(
        [postgres_programs() / "pg_dump", "--schema-only", *source],
        capture_output=True,
        check=True,
    ).stdout
    with temporary_servers() as servers:
        assert servers.postgres is not None
        goal = ["--host", str(servers.postgres.sockets), "--username", OWNER, DATABASE]
        subprocess.run(
            [postgres_programs() / "psql", "-q", *goal],
            input=tables,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        yield servers.postgres


@pytest.fixture
def target(fresh_cluster):
    """The address of an empty database of its own in there."""
    name = f"restored_{os.urandom(4).hex()}"
    with psycopg.connect(
        fresh_cluster.url(OWNER), dbname="postgres", autocommit=True
    ) as owner:
        owner.execute(f"CREATE DATABASE {name} TEMPLATE {DATABASE}")
    return {"host": str(fresh_cluster.sockets), "user": OWNER, "dbname": name}


def _copy_to(target):
    """What a dump holds and a restore puts in: rows as they are, and where the
    sequence stands.
    """
    source = connection.connection
    with psycopg.connect(**target) as new, new.cursor() as into, source.cursor() as out:
        into.execute("SET session_replication_role = 'replica'")
        for table in TABLES:
            named = sql.Identifier(table)
            with (
                out.copy(sql.SQL("COPY {} TO STDOUT").format(named)) as read,
                into.copy(sql.SQL("COPY {} FROM STDIN").format(named)) as write,
            ):
                for data in read:
                    write.write(data)
        last = out.execute("SELECT last_value FROM audit_entry_id_seq").fetchone()
        into.execute("SELECT setval('audit_entry_id_seq', %s)", last)


def _spend_transactions(number):
    with connection.cursor() as cursor:
        cursor.execute(
            f"DO $$ BEGIN FOR i IN 1..{number} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
        )


@pytest.mark.slow
def test_ledger_restored_into_a_new_cluster_goes_on_in_a_new_epoch(target):
    _spend_transactions(20_000)
    append(300)
    seal_all()
    append(7)
    before = check_chain()[-1]
    cluster = cluster_id()
    _copy_to(target)
    with moved_to(target):
        assert cluster_id() != cluster
        # A process that is faster than the sealer writes into the new cluster first.
        new = append(2)
        assert all(entry.xid < before.end_xid for entry in new)
        assert seal_all() == 9
        append(5)
        assert seal_all() == 1 + 5
        seals = check_chain()
        assert [(one.kind, one.epoch, one.size) for one in seals] == [
            ("seal", 1, 300),
            ("restored", 2, 309),
            ("seal", 2, 315),
        ]
        assert seals[-1].size == Entry.objects.count()
        assert Entry.objects.of_action("ledger.restored").count() == 1
        assert not sealing_state(clock()).why


def _in_another_process(work):
    """Run it in a process of its own, with a session of its own; return the process's
    number.
    """
    connection.close()
    if process := os.fork():
        return process
    status = 1
    # While Playwright runs, Django has one session for code with a loop and another one
    # for code without. A new process has no loop, so it would share the second one.
    # It is let go without a word to the server.
    connection.connection = None
    # If it never ends, says where it waits, and ends.
    faulthandler.dump_traceback_later(120, exit=True)
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def _seal_until_statement(number):
    """Seal, and be killed right before the so many-th statement, or while the file is
    written.
    """
    sent = iter(range(number))

    def count(execute, *arguments):
        if next(sent, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(*arguments)

    with connection.execute_wrapper(count):
        seal()


def _seal_until_the_disk():
    def die(descriptor):
        os.kill(os.getpid(), signal.SIGKILL)

    anchors.os.fsync = die
    seal()


def _was_killed(process):
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


@pytest.mark.slow
def test_sealer_killed_anywhere_leaves_one_chain(settings):
    statements = 0
    while True:
        append(2)
        if not _was_killed(
            _in_another_process(lambda number=statements: _seal_until_statement(number))
        ):
            break
        statements += 1
        check_chain()
    append(2)
    assert _was_killed(_in_another_process(_seal_until_the_disk))
    append(1)
    seal()
    assert statements > 10
    seals = check_chain()
    assert seals[-1].size == Entry.objects.count()
    heads = [json.loads(line) for line in settings.SEAL_FILE.read_text().splitlines()]
    assert [(head["number"], head["signature"]) for head in heads] == [
        (one.number, one.signature) for one in seals
    ]


def test_four_sealers_at_once_make_one_chain():
    def seal_again_and_again():
        while not Seal.objects.filter(size=40).exists():
            seal_all()

    sealers = [_in_another_process(seal_again_and_again) for _ in range(4)]
    append(20)
    # However slowly the others start, what follows comes after a seal.
    while not Seal.objects.exists():
        seal_all()
    append(20)
    ends = [_was_killed(process) for process in sealers]
    assert not any(ends)
    seal_all()
    seals = check_chain()
    assert len(seals) > 1
    assert seals[-1].size == Entry.objects.count() == 40


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
