"""Alters the tables of the ledger, one row or column at a time, by statements that are
made from the columns that the tables have, and returns what no check finds.
"""

from contextlib import contextmanager

import psycopg
from django.db import DatabaseError, connection

from audit.verification.checks import check_database
from tests.ledger import as_superuser

# The column that tells the rows apart.
KEYS = {
    "audit_entry": "id",
    "audit_entrydetail": "entry_id",
    "audit_sealedentry": "entry",
    "audit_seal": "number",
    "audit_anchor": "seal",
}
# Other values of a column, by its type; {} is the column.
_OTHERS = {
    "int8": ("coalesce({}, 0) + 1", "-9223372036854775808"),
    "int4": ("{} + 1",),
    "xid8": ("'1'", "'9000000000000000000'"),
    "timestamptz": ("{} - interval '1 second'", "'infinity'"),
    "varchar": (
        "CASE {} WHEN '' THEN 'x' ELSE '' END",
        "overlay({} PLACING 'y' FROM 1)",
    ),
    "text": ("{} || 'x'",),
    "uuid": ("'00000000-0000-0000-0000-000000000009'",),
    "jsonb": ("""{} || '{{"x": "y"}}'""", """'{{"x": 1}}'""", "'[]'"),
    "bytea": ("{} || 'x'", "''"),
    "tsvector": ("NULL",),
}


def _rows(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def _changes(table):
    """Yield (column, SQL of another value)."""
    for name, kind in _rows(
        "SELECT column_name, udt_name FROM information_schema.columns"
        f" WHERE table_name = '{table}' ORDER BY ordinal_position"
    ):
        for other in _OTHERS[kind]:
            yield name, other.format(name)


def insertions(table):
    """Yield statements that insert a copy of a row with another key, each with one
    value that differs.
    """
    changes = list(_changes(table))
    key = KEYS[table]
    for changed, other in changes:
        values = {name: name for name, _ in changes}
        for moved in {key, "position"} & values.keys():
            values[moved] += " + 100"
        values[changed] = other
        yield f"INSERT INTO {table} SELECT {', '.join(values.values())} FROM {table} ORDER BY {key} LIMIT 1"


def alterations(table):
    """Yield statements that delete, change and swap rows: the first, one in the middle
    and the last.
    """
    key = KEYS[table]
    keys = [number for (number,) in _rows(f"SELECT {key} FROM {table} ORDER BY {key}")]
    for number in sorted({keys[0], keys[len(keys) // 2], keys[-1]}):
        yield f"DELETE FROM {table} WHERE {key} = {number}"
        for name, other in _changes(table):
            yield f"UPDATE {table} SET {name} = {other} WHERE {key} = {number} AND {name} IS DISTINCT FROM {other}"
    for name in dict(_changes(table)):
        yield (
            f"UPDATE {table} one SET {name} = other.{name} FROM {table} other"
            f" WHERE (one.{key}, other.{key}) IN (({keys[0]}, {keys[1]}), ({keys[1]}, {keys[0]}))"
            f" AND one.{name} IS DISTINCT FROM other.{name}"
        )


@contextmanager
def as_it_was():
    """Yield a function that brings back the rows of the ledger as they were."""
    for table in KEYS:
        as_superuser(f"CREATE TEMP TABLE kept_{table} AS TABLE {table}")

    def restore():
        for table in KEYS:
            as_superuser(f"DELETE FROM {table}")
            as_superuser(f"INSERT INTO {table} SELECT * FROM kept_{table}")

    yield restore
    for table in KEYS:
        as_superuser(f"DROP TABLE kept_{table}")


def not_found(statements, execute):
    """Run each statement on the same ledger. Return those that the check of the database
    does not find, and how many altered a row; the database refuses some.
    """
    missed = []
    done = 0
    with as_it_was() as restore:
        for statement in statements:
            try:
                altered = execute(statement)
            except (DatabaseError, psycopg.Error):
                continue
            if altered:
                done += 1
                if not check_database().findings:
                    missed.append(statement)
                restore()
    return missed, done
