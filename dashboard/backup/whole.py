"""Writes a backup of everything into one file: the seals, the database, the keys."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings

from common.version import product_commit, product_version
from dashboard.backup.archive import (
    DUMP,
    SEALS,
    BackupError,
    CountedFile,
    dump,
    is_being_restored,
    new_backup,
    owner_url,
    refuse_small_disk,
    snapshot,
)
from dashboard.backup.unpack import DEMO_FILES

_SEAL = "SELECT number, size, at FROM audit_seal ORDER BY number DESC LIMIT 1"
# How many bytes a line of the seals' file has at most; it is copied in pieces as large.
_LINE_AT_MOST = 64 * 1024
# What a dump needs, about, by what was measured: rows shrink to a quarter. Large values
# are apart from their rows. Text among them shrinks by half; files were compressed before,
# and grow a little.
_SIZES = """
SELECT coalesce(sum(rows / 4 + (whole - rows) * CASE WHEN has_files THEN 1.1 ELSE 0.45 END), 0)::bigint,
       pg_database_size(current_database())
  FROM (SELECT pg_relation_size(c.oid) AS rows, pg_table_size(c.oid) AS whole,
               EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND atttypid = 'bytea'::regtype) AS has_files
          FROM pg_class c
         WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace) AS tables
"""


# The seals' file is copied before the database is dumped, and this order matters. A line
# is written to that file after its seal was committed, so a dump that begins later has
# every seal of the copy, and both can be restored together. In the other order the copy
# could name seals that the dump lacks, as if somebody had removed the newest entries. It
# does no harm if the copy lacks the newest seals of the dump: a seal proves what came
# before it, not that nothing came after it.
def write_backup(
    path: Path, passphrase: str, *, before_dump: Callable[[], object] = lambda: None
) -> dict[str, Any]:
    """Write a backup to `path`, which must not exist, and check it. Return the facts of
    its manifest. `before_dump` is called when nothing but the dump is missing. Raises
    BackupError.

    It reads by SQL only, so that newer code can back up a database before migrating it.
    """
    url = owner_url()
    with new_backup(path) as backup:
        with backup.add(SEALS) as copy:
            _copy_seals(copy)
        before_dump()
        with snapshot(url) as session:
            if is_being_restored(session):
                raise BackupError(
                    "A restore into this database was interrupted: there is nothing complete to back up."
                )
            facts = _read_facts(session)
            refuse_small_disk(path.parent, facts["estimated_size"])
            with backup.add(DUMP) as target:
                dump(url, target, session=session)
        files = {name: Path(settings.DATA_DIR) / name for name in DEMO_FILES}
        secrets = {
            "keys": {
                "SECRET_KEY": settings.SECRET_KEY,
                "ENCRYPTION_KEYS": ",".join(settings.ENCRYPTION_KEYS),
                "SEAL_KEY": ",".join(settings.SEAL_KEYS),
            },
            "files": {
                name: file.read_text(encoding="utf-8")
                for name, file in files.items()
                if file.exists()
            },
        }
        backup.finish(facts, secrets=secrets, passphrase=passphrase)
    return facts


def _copy_seals(copy: CountedFile) -> None:
    """Copy the seals' file into the backup, if there is one yet."""
    try:
        with Path(settings.SEAL_FILE).open("rb") as source:
            # Copy complete lines only: the sealer may be writing the last one.
            end = source.seek(0, os.SEEK_END)
            source.seek(max(0, end - _LINE_AT_MOST))
            tail = source.read(end - source.tell())
            end_of_lines = end - (len(tail) - tail.rfind(b"\n") - 1)
            source.seek(0)
            while source.tell() < end_of_lines:
                copy.write(
                    source.read(min(_LINE_AT_MOST, end_of_lines - source.tell()))
                )
    except FileNotFoundError:
        return
    except OSError as error:
        raise BackupError(f"SEAL_FILE cannot be read: {error.strerror}.") from None


def _read_facts(session: "psycopg.Connection[tuple[Any, ...]]") -> dict[str, Any]:
    """Return the facts for the manifest, as of the moment that the dump is of. They are
    read by SQL in the dump's session, which the ORM cannot use.
    """
    at, entries = session.execute(
        "SELECT now(), (SELECT count(*) FROM audit_entry)"
    ).fetchone() or (None, 0)
    assert isinstance(at, datetime)
    seal_facts = None
    if seal := session.execute(_SEAL).fetchone():
        seal_facts = {"number": seal[0], "size": seal[1], "at": seal[2].isoformat()}
    estimate, database_size = session.execute(_SIZES).fetchone() or (0, 0)
    migrations = session.execute(
        "SELECT app, name FROM django_migrations ORDER BY app, name"
    ).fetchall()
    return {
        "version": product_version(),
        "commit": product_commit(),
        "made_at": at.astimezone(UTC).isoformat(),
        "postgresql": session.info.server_version // 10_000,
        "migrations": [list(one) for one in migrations],
        "entries": entries,
        "seal": seal_facts,
        "estimated_size": estimate,
        "database_size": database_size,
    }
