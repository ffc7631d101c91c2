"""Every single alteration that the owner of the database can make is named."""

import pytest
from django.db import connection

from audit.models import Anchor
from audit.sealing.anchors import add_anchor
from audit.sealing.signing import latest_seal
from audit.tasks import seal
from audit.verification.checks import check_database
from tests.ledger import append, as_superuser

pytestmark = pytest.mark.django_db(transaction=True)

TABLES = {
    "audit_entry": "id",
    "audit_entrydetail": "entry_id",
    "audit_sealedentry": "entry",
    "audit_seal": "number",
    "audit_anchor": "seal",
}


def rows_of(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [row[0] for row in cursor.fetchall()]


def columns_of(table):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, udt_name FROM information_schema.columns WHERE table_name = %s ORDER BY ordinal_position",
            [table],
        )
        return cursor.fetchall()


OTHER = {
    "int8": "{c} + 1",
    "int4": "{c} + 1",
    "xid8": "({c}::text::bigint + 1)::text::xid8",
    "timestamptz": "{c} + interval '1 second'",
    "varchar": "CASE WHEN {c} = '' THEN 'x' ELSE '' END",
    "text": "{c} || 'x'",
    "uuid": "'00000000-0000-0000-0000-000000000009'",
    "jsonb": "{c} || '{{\"x\": \"y\"}}'",
    "bytea": "{c} || 'x'",
    "tsvector": "NULL",
}


def alterations():
    for table, key in TABLES.items():
        keys = rows_of(f"SELECT {key} FROM {table} ORDER BY {key}")
        chosen = {keys[len(keys) // 2], keys[-1], keys[0]}
        for number in sorted(chosen):
            where = f"WHERE {key} = {number}"
            yield f"DELETE FROM {table} {where}"
            names = [name for name, _ in columns_of(table)]
            if table == "audit_anchor": where += " AND kind = 'file'"
            for name, kind in columns_of(table):
                other = OTHER[kind].format(c=name)
                if name == key:
                    other = f"{name} + 100"
                yield f"UPDATE {table} SET {name} = {other} {where}"
            taken = ", ".join(f"{one} + 100" if one == key else "position + 100" if one == "position" else one for one in names)
            yield f"INSERT INTO {table} SELECT {taken} FROM {table} {where}"
        a, b = keys[0], keys[1]
        for name, _ in columns_of(table):
            if name not in (key, "position"):
                yield f"UPDATE {table} a SET {name} = b.{name} FROM {table} b WHERE (a.{key}, b.{key}) IN (({a}, {b}), ({b}, {a}))"


def test_scratch(settings, tmp_path, monkeypatch):
    from datetime import timedelta
    monkeypatch.setattr("audit.verification.checks.PATIENCE", timedelta(0))
    settings.SEAL_FILE = tmp_path / "seals.jsonl"
    for turn in (3, 5, 4, 2):
        append(turn)
        seal()
        if turn in (5, 2):
            before = Anchor.objects.filter(kind="discord").order_by("-seal").first()
            add_anchor(latest_seal(), "discord", "#proofs", "119", previous=before.seal if before else 0)
    append(2)
    assert check_database().findings == []
    for table in TABLES:
        as_superuser(f"CREATE TEMP TABLE kept_{table} AS TABLE {table}")
    unnamed = []
    total = 0
    for sql in list(alterations()):
        try:
            as_superuser(sql)
        except Exception as e:
            print("refused", sql, str(e)[:80])
            continue
        changed = any(rows_of(f"SELECT count(*) FROM ((TABLE {t} EXCEPT ALL TABLE kept_{t}) UNION ALL (TABLE kept_{t} EXCEPT ALL TABLE {t})) x")[0] for t in TABLES)
        if changed:
            total += 1
            try:
                found = check_database().findings
            except Exception as e:
                found = []
                sql = f"{type(e).__name__} {e}: {sql}"
            if not found:
                unnamed.append(sql)
        for table in TABLES:
            as_superuser(f"DELETE FROM {table}")
            as_superuser(f"INSERT INTO {table} SELECT * FROM kept_{table}")
    lines = settings.SEAL_FILE.read_bytes().splitlines(keepends=True)
    files = {"emptied": [], "removed": None}
    for place in range(len(lines)):
        files[f"without {place}"] = lines[:place] + lines[place + 1:]
        files[f"cut after {place}"] = lines[:place + 1]
        files[f"twice {place}"] = lines[:place + 1] + lines[place:]
        files[f"bit {place}"] = lines[:place] + [lines[place].replace(b'"size":', b'"size":1')] + lines[place + 1:]
        if place:
            files[f"swapped {place}"] = lines[:place - 1] + [lines[place], lines[place - 1]] + lines[place + 1:]
    for name, new in files.items():
        if new == lines:
            continue
        total += 1
        if new is None:
            settings.SEAL_FILE.unlink()
        else:
            settings.SEAL_FILE.write_bytes(b"".join(new))
        if not check_database().findings:
            unnamed.append("file " + name)
    for table in TABLES:
        as_superuser(f"DROP TABLE kept_{table}")
    print("\n".join(map(str, unnamed)))
    raise AssertionError(f"{len(unnamed)} of {total}")
