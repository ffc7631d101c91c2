"""Raw SQL stands in five places of the product, each with the reason why the ORM cannot
say it.
"""

import ast

from tests.house.test_house_rules import (
    SOURCES,
    parsed,
    pytestmark,  # noqa: F401
    relative,
)

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


def has_raw_sql(tree):
    """Whether a module sends SQL of its own, by a cursor, by psycopg or inside a
    queryset.
    """
    for node in ast.walk(tree):
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
    found = {relative(path) for path in SOURCES if has_raw_sql(parsed(path))}
    launcher = {name for name in found if name.startswith("launcher/")}
    assert found - launcher == set().union(*PLACES.values())
    assert len(PLACES) <= 5
