"""Dumps the database and loads a dump, with PostgreSQL's own programs. The dump is
streamed, so no other copy of it is stored on the way.

SQL is used instead of Django's ORM. Django's session belongs to the application's role,
cannot share its snapshot with pg_dump, and cannot ask about a database that has none of
the product's tables.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dashboard.backup.archive import BackupError, CountedFile
from launcher.console import LaunchError
from launcher.postgres import postgres_clients

# This table exists in the database from the beginning of a restore until it is
# complete. The product does not start while the table exists.
MARKER = "countersign_restoring"
# The table whose rows are not backed up: everybody signs in again after a restore.
_WITHOUT_ROWS = "django_session"
# pg_restore writes this line for every server, and servers before 17 refuse it. It is
# among the first 64 lines of a dump.
_UNKNOWN_BEFORE_17 = b"SET transaction_timeout = 0;\n"
_PREAMBLE = 64
_POOL_TRIES = 100

_OWN_TABLES = """
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') ORDER BY 1
"""
# Safe only because the database was empty: the load created everything that is in it.
_DROP_ALL = """
DO $$ DECLARE one record; BEGIN
  FOR one IN SELECT c.oid::regclass AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')
  LOOP EXECUTE 'DROP TABLE IF EXISTS ' || one.name || ' CASCADE'; END LOOP;
  FOR one IN SELECT c.oid::regclass AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = 'public' AND c.relkind = 'S'
  LOOP EXECUTE 'DROP SEQUENCE IF EXISTS ' || one.name || ' CASCADE'; END LOOP;
  FOR one IN SELECT p.oid::regprocedure AS name FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
              WHERE n.nspname = 'public' AND p.prokind = 'f'
                AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
  LOOP EXECUTE 'DROP FUNCTION IF EXISTS ' || one.name || ' CASCADE'; END LOOP;
END $$
"""


def owner_url() -> str:
    """Return the URL by which the role that owns the tables connects to the
    database.
    """
    return os.environ.get("DATABASE_OWNER_URL") or os.environ["DATABASE_URL"]


@contextmanager
def snapshot(url: str) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """Yield a session that sees the database as it is at one moment. `dump` uses the
    same snapshot. Raises BackupError where PostgreSQL refuses something.
    """
    try:
        refuse_pooler(url)
        with psycopg.connect(url, application_name="countersign backup") as session:
            # This session is idle for as long as the dump takes; it only holds the
            # snapshot.
            session.execute("SET idle_in_transaction_session_timeout = 0")
            session.commit()
            session.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            session.read_only = True
            yield session
    except psycopg.Error as error:
        raise BackupError(
            f"The database cannot be read: {_first_line(error)}"
        ) from None


def refuse_pooler(url: str) -> None:
    """Raise BackupError if a pooler lends the sessions of this URL by transaction. What
    pg_dump and a load set for their session, such as an empty search_path, would stay
    in sessions of others, which then find no table.
    """
    ask = "SELECT pg_backend_pid()"
    with (
        psycopg.connect(url, autocommit=True) as one,
        psycopg.connect(url, autocommit=True) as other,
    ):
        # A pooler gives each client an id of its own making.
        if one.execute(ask).fetchone() == (one.info.backend_pid,):
            return
        # While others use the pool, two queries in a row may get different sessions.
        for _ in range(_POOL_TRIES):
            if one.execute(ask).fetchone() == other.execute(ask).fetchone():
                raise BackupError(
                    "DATABASE_OWNER_URL must lead to PostgreSQL itself, and not through a pooler in transaction mode "
                    "such as PgBouncer. DATABASE_URL may. Nothing was changed."
                )


def dump(
    url: str, target: CountedFile, *, session: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    """Write a dump of what `session` sees to `target`. Raises BackupError."""
    row = session.execute("SELECT pg_export_snapshot()").fetchone()
    assert row is not None
    programs = _programs(session)
    options = [
        "--format=custom",
        f"--snapshot={row[0]}",
        f"--exclude-table-data={_WITHOUT_ROWS}",
        "--schema=public",
    ]
    with tempfile.TemporaryFile() as errors:
        process = _start(
            programs / "pg_dump", options, url, stdout=subprocess.PIPE, stderr=errors
        )
        with process:
            assert process.stdout is not None
            shutil.copyfileobj(process.stdout, target)
        _check(process, errors, "The database could not be dumped")


def refuse_used(url: str) -> None:
    """Raise BackupError unless the database is empty, because existing data must not be
    overwritten.
    """
    try:
        refuse_pooler(url)
        with psycopg.connect(url) as session:
            tables = [str(name) for (name,) in session.execute(_OWN_TABLES).fetchall()]
    except psycopg.OperationalError as error:
        raise BackupError(
            f"DATABASE_OWNER_URL does not lead to PostgreSQL: {_first_line(error)}"
        ) from None
    if MARKER in tables:
        raise BackupError(
            "An earlier restore into this database was interrupted. Drop it, and create an empty one."
        )
    if tables:
        raise BackupError(
            f"The database is not empty: it holds {len(tables)} tables ({', '.join(tables[:3])} ...). A backup can "
            "only be restored into an empty one."
        )


def load(url: str, source: IO[bytes]) -> None:
    """Load a dump into an empty database, in one transaction. Raises BackupError.

    The transaction also creates the table MARKER; `forget_marker` removes it.
    """
    with psycopg.connect(url) as session:
        programs = _programs(session)
        is_old = session.info.server_version < 170_000
    # The schema exists already; `prepare` grants the privileges of the roles.
    options = ["--schema=public", "--no-owner", "--no-privileges", "--file=-"]
    with tempfile.TemporaryFile() as errors:
        reader = subprocess.Popen(
            [programs / "pg_restore", *options],
            env=_environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        assert reader.stdin is not None
        feeder = threading.Thread(
            target=_feed, args=(source, reader.stdin), daemon=True
        )
        feeder.start()
        writer = _start(
            programs / "psql",
            ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"],
            url,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        with reader, writer:
            _pass_on(reader, writer, is_old=is_old)
            feeder.join()
        # Check psql first: if it stops, pg_restore ends too.
        _check(
            writer,
            errors,
            "The dump could not be loaded, and the database is as it was",
        )
        _check(reader, errors, "The dump in the backup could not be read")


def _pass_on(
    reader: "subprocess.Popen[bytes]",
    writer: "subprocess.Popen[bytes]",
    *,
    is_old: bool,
) -> None:
    assert reader.stdout is not None
    assert writer.stdin is not None
    try:
        writer.stdin.write(
            f"BEGIN;\nCREATE TABLE public.{MARKER} (since timestamptz DEFAULT now());\n".encode()
        )
        for _ in range(_PREAMBLE):
            line = reader.stdout.readline()
            if not (is_old and line == _UNKNOWN_BEFORE_17):
                writer.stdin.write(line)
        shutil.copyfileobj(reader.stdout, writer.stdin)
        # Do not commit at the end of the input: a truncated dump would leave half a
        # database.
        if reader.wait() == 0:
            writer.stdin.write(b"\nCOMMIT;\n")
        writer.stdin.close()
    except BrokenPipeError:
        # psql has stopped at an error, which it has printed.
        reader.kill()
        with contextlib.suppress(BrokenPipeError):
            writer.stdin.close()


def _feed(source: IO[bytes], target: IO[bytes]) -> None:
    try:
        with target:
            shutil.copyfileobj(source, target)
    except (BrokenPipeError, ValueError):
        # pg_restore has stopped at an error, which it has printed.
        pass


def is_being_restored(session: "psycopg.Connection[tuple[object, ...]]") -> bool:
    """Whether a restore into this database was begun and is not complete."""
    row = session.execute(
        "SELECT to_regclass(%s) IS NOT NULL", [f"public.{MARKER}"]
    ).fetchone()
    return bool(row and row[0])


def forget_marker(url: str) -> None:
    """Mark the restore as complete, so that the desk can be started, and update the
    planner's statistics.
    """
    with psycopg.connect(url) as session:
        session.execute(f"DROP TABLE public.{MARKER}")
        session.commit()
        session.autocommit = True
        session.execute("ANALYZE")


def drop_all(url: str) -> None:
    """Drop everything that a load created in an empty database."""
    with psycopg.connect(url) as session:
        session.execute(_DROP_ALL)


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().partition("\n")[0]


def _programs(session: "psycopg.Connection[tuple[object, ...]]") -> Path:
    try:
        return postgres_clients(server=session.info.server_version // 10_000)
    except LaunchError as error:
        raise BackupError(str(error)) from None


def _start(
    program: Path, options: list[str], url: str, **streams: object
) -> "subprocess.Popen[bytes]":
    parts = conninfo_to_dict(url)
    password = parts.pop("password", None)
    command = [
        str(program),
        *options,
        f"--dbname={make_conninfo('', **parts)}",
        "--no-password",
    ]
    # The password is not passed on the command line, which every process of the machine
    # can read.
    environment = _environment({"PGPASSWORD": str(password)} if password else {})
    return subprocess.Popen(command, env=environment, **streams)  # type: ignore[call-overload,no-any-return]


def _environment(more: dict[str, str]) -> dict[str, str]:
    """Return the environment for PostgreSQL's programs: libpq's variables of this
    process, so that they use the same TLS settings as the desk, and `more`.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("PG") or name in ("PATH", "HOME")
    }
    return {"LC_ALL": "C", **inherited, **more}


def _check(
    process: "subprocess.Popen[bytes]", errors: IO[bytes], sentence: str
) -> None:
    if process.returncode:
        errors.seek(0)
        error_lines = errors.read().decode(errors="replace").strip().splitlines()
        because = next(
            (line for line in error_lines if "error" in line.lower()),
            error_lines[0] if error_lines else "no reason given",
        )
        raise BackupError(f"{sentence}: {because}")
