"""Raw SQL stands in five places of the product, each with the reason why the ORM cannot
say it.
"""

import ast

import pytest

from tests.house.test_house_rules import ROOT

APART = {"tests", "migrations", "benchmarks", "launcher"}
PLACES = {
    "the clock, locks, limits and catalogs": {
        "common/postgres.py",
    },
    "numbers and removals of the ledger": {"audit/recording.py", "audit/retention.py"},
    "earlier mail of several addresses": {"mirror/recipients.py"},
    "privileges of roles": {"dashboard/management/commands/prepare.py"},
    "dumps": {
        "dashboard/backup/archive.py",
        "dashboard/backup/whole.py",
    },
}
# `pipeline.execute()` without a statement is of Redis.
CALLS = {*"cursor raw extra RawSQL sql_with_params executemany".split()}


def has_raw_sql(source):
    """Whether a module sends SQL of its own, by a cursor, by psycopg or inside a
    queryset.
    """
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module == "psycopg"
            and any(n.name == "sql" for n in node.names)
        ):
            return True
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in CALLS or (name == "execute" and node.args):
            return True
        if name == "connect" and ast.unparse(node.func) == "psycopg.connect":
            return True
    return False


def test_raw_sql_stands_in_five_places():
    found = {
        str(path.relative_to(ROOT))
        for app in ROOT.iterdir()
        if app.is_dir() and not app.name.startswith(".") and app.name not in APART
        for path in app.rglob("*.py")
        if APART.isdisjoint(path.relative_to(ROOT).parts)
        and has_raw_sql(path.read_text())
    }
    assert found == set().union(*PLACES.values())
    assert len(PLACES) <= 5


@pytest.mark.parametrize(
    "source",
    [
        "connection.cursor()",
        "session.execute('SELECT 1')",
        "Message.objects.raw('SELECT 1')",
        "Message.objects.extra(where=['true'])",
        "RawSQL('now()', [])",
        "found.query.sql_with_params()",
        "psycopg.connect(url)",
        "from psycopg import sql",
    ],
)
def test_raw_sql_is_found(source):
    assert has_raw_sql(source)


def test_what_is_no_sql_is_not_found():
    assert not has_raw_sql(
        "redis.pipeline().execute()\nlog.error('no', extra={})\nMessage.objects.filter(pk=1)"
    )
