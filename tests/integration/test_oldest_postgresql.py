"""What leans on PostgreSQL most, on the oldest version that the documentation
promises: migrations and roles, the ledger's triggers, the queue, carrying decisions out.
"""

import os
import re
import sys
from pathlib import Path

import pytest
from django.db import connection

from dashboard.health.checks import OLDEST_POSTGRESQL
from launcher.bootstrap import install_debian_packages
from launcher.paths import ROOT
from tests.commands import run_command
from tests.other_postgresql import VARIABLE

OLDEST = OLDEST_POSTGRESQL // 10_000
PROGRAMS = Path(f"/usr/lib/postgresql/{OLDEST}/bin")
CHOSEN = """
integration/test_postgresql_roles.py integration/test_ledger_rights.py
integration/test_ledger_state.py integration/test_sealing.py integration/test_retention.py
integration/test_queue_list.py integration/test_find.py integration/test_reconcile.py
integration/test_decide.py integration/test_execute.py integration/test_doctor.py
integration/test_needs_attention.py::test_what_the_migrations_made_in_the_database_is_known_and_each_change_is_named
integration/test_oldest_postgresql.py::test_server_of_the_tests_is_the_one_that_was_asked_for
""".split()
PAGES = ("README.md", "docs/operators/configure.md", "docs/operators/postgresql.md")
PROMISE = re.compile(r"PostgreSQL (\d+) or newer")


def test_oldest_postgresql_is_the_same_in_code_and_documentation():
    promised = {
        name: set(map(int, PROMISE.findall((ROOT / name).read_text())))
        for name in PAGES
    }
    assert promised == {name: {OLDEST} for name in PAGES}


@pytest.fixture
def oldest_postgresql():
    """The folder with the programs of Debian's package, installed if possible."""
    package = f"postgresql-{OLDEST}"
    if not PROGRAMS.exists() and os.geteuid() == 0:
        install_debian_packages([package])
    if not PROGRAMS.exists():
        pytest.skip(
            f"{PROGRAMS} is missing, and could not be installed: install the package {package} (Debian 12)"
        )
    return PROGRAMS


@pytest.mark.slow
def test_oldest_postgresql_passes_what_leans_on_it(oldest_postgresql):
    # The inner run is a main process of its own, and not a worker of this one.
    variables = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("PYTEST_", "COUNTERSIGN_TEST_"))
    }
    command = [sys.executable, "-m", "pytest", "--quiet", "-m", "not soak"]
    result = run_command(
        [*command, *(f"tests/{name}" for name in CHOSEN)],
        cwd=ROOT,
        env={**variables, VARIABLE: str(oldest_postgresql)},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    summary = result.stdout.splitlines()[-1]
    assert re.fullmatch(r"\d{2,} passed.* in .*", summary), summary


def test_server_of_the_tests_is_the_one_that_was_asked_for(db):
    asked = os.environ.get(VARIABLE)
    major = connection.pg_version // 10_000
    assert major == (int(Path(asked).parent.name) if asked else 18)
