"""Statements that alter the tables of the ledger, one row or column at a time, made
from the columns that the tables have.
"""

from contextlib import contextmanager

from django.db import connection

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
    "varchar": ("CASE {} WHEN '' THEN 'x' ELSE '' END", "overlay({} PLACING 'y' FROM 1)"),
    "text": ("{} || 'x'",),
    "uuid": ("'00000000-0000-0000-0000-000000000009'",),
    "jsonb": ("""{} || '{{"x": "y"}}'""", """'{{"x": 1}}'""", "'[]'"),
    "bytea": ("{} || 'x'", "''"),
    "tsvector": ("NULL",),
}


def rows(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def _columns(table):
    return rows(
        "SELECT column_name, udt_name FROM information_schema.columns"
        f" WHERE table_name = '{table}' ORDER BY ordinal_position"
    )


def insertions(table, where):
    """Yield statements that insert a copy of a row with another key, each with one
    value that differs.
    """
    for name, kind in _columns(table):
        for other in _OTHERS[kind]:
            values = [
                other.format(one)
                if one == name
                else f"{one} + 100"
                if one in (KEYS[table], "position")
                else one
                for one, _ in _columns(table)
            ]
            yield f"INSERT INTO {table} SELECT {', '.join(values)} FROM {table} {where}"


def alterations(table):
    """Yield statements that delete, change and swap rows: the first, one in the middle
    and the last.
    """
    key = KEYS[table]
    keys = [number for (number,) in rows(f"SELECT {key} FROM {table} ORDER BY {key}")]
    for number in sorted({keys[0], keys[len(keys) // 2], keys[-1]}):
        yield f"DELETE FROM {table} WHERE {key} = {number}"
        for name, kind in _columns(table):
            for other in _OTHERS[kind]:
                new = other.format(name)
                yield f"UPDATE {table} SET {name} = {new} WHERE {key} = {number} AND {name} IS DISTINCT FROM {new}"
    for name, _ in _columns(table):
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
