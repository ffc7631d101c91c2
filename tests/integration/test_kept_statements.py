"""Cached SQL statements: one serves everybody with the same scope, with parameters filled in per query."""

from uuid import UUID

import pytest
from django.db import close_old_connections
from django.db import connection as database

from common.postgres import clock
from common.postgres.base import _numbered
from common.postgres.rows import insert
from common.postgres.statements import read_values
from mirror.models import Message

pytestmark = pytest.mark.django_db


def test_placeholders_are_numbered_by_name_or_place():
    assert _numbered("SELECT %(b)s, %(a)s, %(b)s, '5%%'") == ("SELECT $1, $2, $1, '5%'", ("b", "a"))
    assert _numbered("SELECT %s, %s") == ("SELECT $1, $2", (0, 1))


def test_inserted_row_has_its_empty_values_and_all_others(connection):
    given = {"public_id": UUID(int=1), "connection": connection}
    row = Message(
        **given, upstream_id="a", state="held", held_at=clock(), changed_at=clock(), recipients=["é@x.example"]
    )
    (key,) = insert(row).row()
    stored = Message.objects.get(pk=key)
    names = [
        field.attname
        for field in Message._meta.concrete_fields
        if field.name not in ("id", "seen_at", "watch_at", "search", "bands")
    ]
    assert {name: getattr(stored, name) for name in names} == {name: getattr(row, name) for name in names}


@pytest.mark.django_db(transaction=True)
def test_first_statement_of_a_request_finds_that_its_session_was_closed():
    read_values({})
    other = database.copy()
    with other.cursor() as cursor:
        # Up to a minute, until it has ended.
        cursor.execute("SELECT pg_terminate_backend(%s, 60000)", [database.connection.info.backend_pid])
    other.close()
    close_old_connections()
    assert read_values({})["clock"]
