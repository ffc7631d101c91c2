"""The log when PostgreSQL refuses a row: the error, and no content of the row."""

import json
import logging

import pytest
from django.db import DataError, IntegrityError, connection, transaction

from common.logs import JsonFormatter, TextFormatter


@pytest.mark.parametrize(
    "statement",
    [
        'SELECT \'{"markdown": "private words\\u0000"}\'::jsonb',
        "CREATE TEMP TABLE t (a text UNIQUE); INSERT INTO t VALUES ('private words'), ('private words')",
    ],
)
def test_database_error_quotes_nothing_of_the_mail(statement):
    with (
        pytest.raises((DataError, IntegrityError), match="private words") as caught,
        transaction.atomic(),
    ):
        connection.cursor().execute(statement)
    failure = (caught.type, caught.value, caught.tb)
    record = logging.LogRecord("x", logging.ERROR, "", 0, "not stored", None, failure)
    for line in (
        json.loads(JsonFormatter().format(record))["error"],
        TextFormatter().format(record),
    ):
        assert "[hidden]" in line
        assert "private words" not in line


def test_log_of_the_server_that_we_start_has_no_statements(db):
    with connection.cursor() as cursor:
        for name, value in (
            ("log_min_error_statement", "panic"),
            ("log_error_verbosity", "terse"),
        ):
            cursor.execute(f"SHOW {name}")
            assert cursor.fetchone() == (value,)
