"""Puts a row with unusual characters into each table that is empty, for tests of what
has to survive byte by byte.
"""

import json

import psycopg
from django.apps import apps
from psycopg import sql

from common.encryption import EncryptedTextField, encrypt

TABLES = """
SELECT relname FROM pg_class
 WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace ORDER BY 1
"""
_COLUMNS = """
SELECT column_name, data_type, character_maximum_length, column_default IS NOT NULL OR is_identity = 'YES'
  FROM information_schema.columns
 WHERE table_schema = 'public' AND table_name = %s
   AND is_generated = 'NEVER' ORDER BY ordinal_position
"""
_FOREIGN_KEYS = """
SELECT a.attname, c.confrelid::regclass::text, f.attname FROM pg_constraint c
  JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
  JOIN pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = c.confkey[1]
 WHERE c.contype = 'f' AND c.conrelid = %s::regclass
"""
# Columns that take one of some values, with the first of these.
_CHOICES = """
SELECT a.attname, substring(pg_get_constraintdef(c.oid) FROM $$'([^']+)'::character varying$$)
  FROM pg_constraint c
  JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
 WHERE c.contype = 'c' AND array_length(c.conkey, 1) = 1 AND c.conrelid = %s::regclass
"""
# What text formats escape, and what encodings mix up.
_TEXT = "'\\\t\r\n\u00e9\u2028\U0001f511\"{}\\N"
_OF_TYPE = {
    **dict.fromkeys(("text", "character varying"), _TEXT),
    **dict.fromkeys(("integer", "smallint", "bigint"), 7),
    "boolean": True,
    "double precision": 0.1,
    "bytea": bytes(range(256)),
    "uuid": "5c1f6a0e-8f1d-4c57-9c39-7d3a0e0e4b11",
    "timestamp with time zone": "2026-11-22 02:03:04.567891+00",
    "time without time zone": "02:03:04.5",
    "date": "2026-11-22",
    "interval": "1 day 00:00:00.000001",
    "jsonb": json.dumps({"\u00e9": [1, None, _TEXT]}),
    "ARRAY": "{}",
    "inet": "2001:db8::1",
}
# What the database checks besides lists of values, by table and column.
_VALID = {
    "alerts_card": {"message_id": None, "post_id": ""},
    "alerts_delivery": {"kind": "event", "card_id": None},
    "gateway_apikey": {"scopes": "{read}"},
    "gateway_notice": {"approval_id": None},
    "people_organisationsettings": {"id": 1},
    "people_pendingchange": {"mailbox_id": None},
    "policy_allowlist": {"mailbox_id": None},
    "policy_killswitch": {"mailbox_id": None},
}


def fill_empty_tables(session):
    """Insert a row into each empty table. Fail for those where that is not possible."""
    tables = [name for (name,) in session.execute(TABLES)]
    empty = [name for name in tables if not _rows(session, name)]
    refused = {}
    # A row may need one of a table that comes later.
    for _ in range(len(tables)):
        for table in empty:
            try:
                with session.transaction():
                    _insert(session, table)
                    session.execute("SET CONSTRAINTS ALL IMMEDIATE")
                refused.pop(table, None)
            except psycopg.Error as error:
                refused[table] = str(error)
        if empty == list(refused):
            break
        empty = list(refused)
    assert not refused, refused


def _rows(session, table):
    query = sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(table))
    return session.execute(query).fetchall()


def _encrypted_columns(table):
    return [
        field.column
        for model in apps.get_models()
        for field in model._meta.local_fields
        if model._meta.db_table == table and isinstance(field, EncryptedTextField)
    ]


def _insert(session, table):
    foreign = {
        column: (other, key)
        for column, other, key in session.execute(_FOREIGN_KEYS, [table])
    }
    chosen = {
        name: value for name, value in session.execute(_CHOICES, [table]) if value
    }
    encrypted = dict.fromkeys(_encrypted_columns(table), encrypt(_TEXT))
    valid = chosen | encrypted | _VALID.get(table, {})
    values = {}
    for column, kind, length, has_default in session.execute(_COLUMNS, [table]):
        if column in valid:
            values[column] = valid[column]
        elif column in foreign:
            other, key = map(sql.Identifier, foreign[column])
            query = sql.SQL("SELECT {0} FROM {1} ORDER BY {0}").format(key, other)
            keys = session.execute(query).fetchall() or [(None,)]
            # Two signatures are of different people.
            values[column] = keys[-(column == "accepted_by_id")][0]
        elif not has_default:
            value = _OF_TYPE[kind]
            values[column] = value[:length] if length else value
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join([sql.Placeholder()] * len(values)),
    )
    session.execute(statement, list(values.values()))
