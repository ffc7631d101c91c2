"""The ledger is copied into a freshly made cluster, whose transactions are counted from
the beginning again.
"""

import os
import subprocess

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from psycopg import sql

from audit.models import Entry
from audit.sealing.sealer import seal_all
from audit.sealing.status import sealing_state
from common.postgres import clock
from common.postgres.server import cluster_id
from launcher.postgres import DATABASE, OWNER, postgres_programs
from launcher.servers import temporary_servers
from tests.ledger import append, as_superuser, check_chain
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
    sequences stand.
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
        for sequence in ("audit_entry_id_seq", "audit_anchor_id_seq"):
            last = out.execute(
                sql.SQL("SELECT last_value FROM {}").format(sql.Identifier(sequence))
            ).fetchone()[0]
            into.execute("SELECT setval(%s, %s)", [sequence, last])


def _spend_transactions(number):
    with connection.cursor() as cursor:
        cursor.execute(
            f"DO $$ BEGIN FOR i IN 1..{number} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
        )


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


def test_altered_backup_is_not_adopted(target):
    entry = append(20)[4]
    seal_all()
    _copy_to(target)
    with moved_to(target):
        as_superuser("UPDATE audit_entry SET surface = 'web' WHERE id = %s", [entry.pk])
        append()
        assert seal_all() == 0
        assert (
            sealing_state(clock()).why
            == f"Entry {entry.pk} is not the one that was sealed."
        )
