"""Cached SQL statements: one serves everybody with the same scope, with parameters filled in per query."""

from datetime import datetime
from uuid import UUID

import pytest
from django.db import close_old_connections
from django.db import connection as database

from approvals.message_page import content_views, side_panel
from approvals.message_page.content import origin
from approvals.message_page.views import page_parts
from approvals.queue.filters import Filters
from common.postgres import clock
from common.postgres.base import _numbered
from common.postgres.rows import insert
from common.postgres.statements import ANY, NAMED_LATER, read_values
from mirror.models import Message
from mirror.models.messages import anybody_like, asked_by
from tests.factories import make_message

pytestmark = pytest.mark.django_db


def test_cached_statement_contains_no_time(reviewer):
    anybody = anybody_like(reviewer.actor(surface="web"))
    statements = [
        *side_panel._panel_parts().values(),
        *content_views._body_parts(anybody).values(),
        origin._others_part(anybody),
    ]
    assert [part.sql for part in statements if any(isinstance(value, datetime) for value in part.values)] == []


def test_cached_statement_names_its_placeholders_and_contains_all_other_values(reviewer):
    actor = reviewer.actor(surface="web")
    part = origin._others_part(anybody_like(actor)).with_values({NAMED_LATER: "discord:ana", ANY: 7})
    text, parameters = part.prepared(asked_by(actor))
    assert {"discord:ana", 7, reviewer.pk} >= set(parameters) >= {"discord:ana", 7}
    assert text.count("%s") == len(parameters)
    assert "'held'" in text


def test_statement_of_a_page_has_one_text_for_all_messages_and_people(connection, reviewer, second_reviewer):
    texts = set()
    for person, address in ((reviewer, "dana@northwind.example"), (second_reviewer, "lee@acme.example")):
        actor, message = person.actor(surface="web"), make_message(connection, to=[address])
        parts = page_parts(message, actor, Filters())
        texts.add(" ".join(part.prepared(asked_by(actor))[0] for part in parts.values()))
    assert len(texts) == 1


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
