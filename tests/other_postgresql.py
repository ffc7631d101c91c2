"""Has the servers of the tests run another PostgreSQL than the embedded one.

COUNTERSIGN_TEST_POSTGRESQL names the folder with its programs, such as
/usr/lib/postgresql/15/bin. A server that runs already would not do: each test process
needs one of its own (tests/cluster.py). The product that tests start by `./run` still
brings its own PostgreSQL, unless they give it a database.
"""

import os
from pathlib import Path

from launcher import postgres
from tests.commands import run_command

VARIABLE = "COUNTERSIGN_TEST_POSTGRESQL"
FOLDER = os.environ.get(VARIABLE)
# What only the embedded version has: settings of the server, and options of initdb.
_NEW_SETTINGS = ("io_method",)
_NEW_OPTIONS = ("--locale=", "--locale-provider=", "--builtin-locale=")


def use():
    """Replace the embedded PostgreSQL, if the variable is set."""
    if not FOLDER:
        return
    program = [Path(FOLDER) / "postgres", "--version"]
    printed = run_command(program, check=True)
    # "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
    postgres.VERSION = int(printed.stdout.split()[2].partition(".")[0])
    postgres.postgres_programs = lambda: Path(FOLDER)
    for name in _NEW_SETTINGS:
        postgres._SETTINGS.pop(name, None)
    postgres.run_to_its_end = _run_without_new_options


_run_to_its_end = postgres.run_to_its_end


def _run_without_new_options(command, error, **options):
    if str(command[-1]).startswith(_NEW_OPTIONS):
        kept = [part for part in command if not str(part).startswith(_NEW_OPTIONS)]
        # The system's locale for Unicode, because the builtin one is newer than this.
        command = [*kept, "--locale=C.UTF-8"]
    _run_to_its_end(command, error, **options)
