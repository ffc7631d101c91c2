"""What the application's own database role may do to the ledger: add to it and read it.
Line 57.
"""

import psycopg
import pytest
from django.db import connection as database
from psycopg import errors
from psycopg.types.json import Jsonb

from audit.guards import APPEND_ONLY
from audit.models import Entry, EntryDetail
from audit.recording import detail_hash
from audit.sealing.anchors import write_anchors
from audit.sealing.sealer import seal_all
from audit.verification.checks import check_database
from launcher.postgres import APPLICATION
from tests.alterations import insertions, not_found
from tests.ledger import append

pytestmark = pytest.mark.django_db(transaction=True)


def as_role(user):
    """A session of another role in the database of this test, which was copied from one
    that `prepare` made.
    """
    params = database.get_connection_params()
    keep = {
        name: params[name] for name in ("dbname", "host", "port") if params.get(name)
    }
    return psycopg.connect(**keep, user=user, autocommit=True)


@pytest.fixture
def application():
    append(3)
    assert seal_all() == 3
    with as_role(APPLICATION) as session:
        yield session


CHANGES = [
    (table, act) for table in APPEND_ONLY for act in ("UPDATE", "DELETE", "TRUNCATE")
]
_COLUMN = {
    "audit_entry": "actor_id",
    "audit_seal": "note",
    "audit_anchor": "place",
    "audit_entrydetail": "salt",
}


def statement(table, act):
    column = _COLUMN.get(table, "hash")
    return {
        "UPDATE": f"UPDATE {table} SET {column} = {column}",
        "DELETE": f"DELETE FROM {table}",
        "TRUNCATE": f"TRUNCATE {table} CASCADE",
    }[act]


def test_application_cannot_change_what_was_written(application):
    for table, act in CHANGES:
        with pytest.raises(errors.InsufficientPrivilege):
            application.execute(statement(table, act))


GUARDS = (
    "ALTER TABLE {} DISABLE TRIGGER USER",
    "DROP TRIGGER {}_rows ON {}",
    "ALTER TABLE {} OWNER TO CURRENT_USER",
    "DROP TABLE {} CASCADE",
    "CREATE RULE quiet AS ON INSERT TO {} DO INSTEAD NOTHING",
)
BECOME = (
    "SET session_replication_role = 'replica'",
    "CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "SET ROLE countersign_owner",
)


def test_application_cannot_take_the_guards_off(application):
    for table in APPEND_ONLY:
        for guard in GUARDS:
            with pytest.raises(errors.InsufficientPrivilege):
                application.execute(guard.format(table, table))
    for way in BECOME:
        with pytest.raises(errors.InsufficientPrivilege):
            application.execute(way)
    # PostgreSQL only warns about rights that one may not grant.
    application.execute("GRANT UPDATE ON audit_entry TO CURRENT_USER")
    assert not application.execute(
        "SELECT has_table_privilege('audit_entry', 'UPDATE')"
    ).fetchone()[0]


def tell(session, action, digest, fields, salt):
    """Insert an entry that tells of a removal, as the application may, and return its
    number.
    """
    [number] = session.execute("SELECT nextval('audit_entry_id_seq')").fetchone()
    session.execute(
        "INSERT INTO audit_entry (id, xid, at, actor_kind, actor_id, surface, action, fingerprint, trace,"
        " detail_hashes, hash) VALUES (%s, pg_current_xact_id(), now(), 'worker', 'x', 'worker', %s, '', '', %s, '')",
        [number, action, Jsonb({"numbers": digest})],
    )
    session.execute(
        "INSERT INTO audit_entrydetail (entry_id, salt, fields) VALUES (%s, %s, %s)",
        [number, salt, Jsonb(fields)],
    )
    return number


def remove(session, removal):
    [removed] = session.execute("SELECT audit_remove_details(%s)", [removal]).fetchone()
    return removed


def test_details_go_only_by_a_sealed_entry_that_names_whose_they_are(application):
    number = Entry.objects.latest("pk").pk
    salt = b"s" * 16
    text = str(number)
    fits = detail_hash(salt, "numbers", text)
    for action, fields, digest, removed in (
        ("ledger.details_removed", {"numbers": text}, "0" * 64, 0),
        ("ledger.details_erased", {"numbers": text}, fits, 1),
    ):
        removal = tell(application, action, digest, fields, salt)
        assert remove(application, removal) == 0, "it is not sealed"
        # Whoever has the role can also say that it is sealed, and is found out.
        application.execute(
            "INSERT INTO audit_sealedentry SELECT %s, 1, position + 1, hash FROM audit_sealedentry "
            "ORDER BY position DESC LIMIT 1",
            [removal],
        )
        assert remove(application, removal) == removed, fields
    assert not EntryDetail.objects.filter(pk=number).exists()
    found = check_database().findings
    for wanted in (
        "5 entries are listed as sealed, and the last seal covers 3",
        f"Entry {removal} says that details were removed, which are missing, and is not",
        f"no sealed entry tells of their removal: {number}.",
    ):
        assert any(wanted in one for one in found), (wanted, found)


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_rows_that_the_application_puts_in_are_found(application, every):
    write_anchors()
    statements = [one for table in APPEND_ONLY for one in insertions(table)]
    assert not_found(statements[::every], application.execute)[0] == []


def test_triggers_refuse_even_the_owner(application):
    application.execute(
        "INSERT INTO audit_sealedentry (entry, seal, position, hash) VALUES (0, 1, 9, 'x')"
    )
    application.execute(
        "INSERT INTO audit_anchor VALUES (1, 'x', 'file', 'x', '', 0, now(), '', '')"
    )
    with as_role(database.settings_dict["USER"]) as owner:
        for table, act in CHANGES:
            if (table, act) == ("audit_entrydetail", "DELETE"):
                # As the function above does as the owner; verifiers report any other
                # deletion.
                continue
            with pytest.raises(errors.RaiseException, match="append-only"):
                owner.execute(statement(table, act))
