"""Makes a backup of everything in one file, while the desk works.
docs/operators/backup.md.
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import transaction

from audit.recording import record
from audit.verification.bundle import product_version
from common.actors import operator
from dashboard.backup.archive import (
    DUMP,
    SEALS,
    BackupError,
    CountedFile,
    new_backup,
    read_passphrase,
)
from dashboard.backup.database import dump, is_being_restored, owner_url, snapshot
from dashboard.backup.unpack import DEMO_FILES
from dashboard.env import env_str
from dashboard.health.checks import applied_migrations
from launcher.keys import NAMES

OPERATOR = operator("backup")
_SEAL = "SELECT number, size, at FROM audit_seal ORDER BY number DESC LIMIT 1"
# How many bytes a line of the seals' file has at most; it is copied in pieces as large.
_LINE_AT_MOST = 64 * 1024


class Command(BaseCommand):
    # Copies the seals' file first, and dumps the database afterwards. This order
    # matters.
    #
    # A line is written to the seals' file after its seal was committed. So a dump that
    # begins after the copy contains every seal of the copy, and both can be restored
    # together. In the other order the copy could name seals that the dump lacks, as if
    # somebody had removed the newest entries, and an honest restore would look forged. It
    # does no harm if the copy lacks the newest seals of the dump: a seal proves what came
    # before it, not that nothing came after it.

    # The docstring of the module.
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="where to write it; must not exist")

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        if not applied_migrations():
            raise CommandError(
                "There is nothing to back up: no desk has ever used this database."
            )
        path = file.expanduser().absolute()
        try:
            passphrase = read_passphrase(is_new=True)
            url = owner_url()
            with new_backup(path) as backup:
                with backup.add(SEALS) as copy:
                    _copy_seals(copy)
                # Record it before the dump, so that the dump contains it.
                with transaction.atomic():
                    record("backup.made", actor=OPERATOR, details={"file": path.name})
                with snapshot(url) as session:
                    if is_being_restored(session):
                        raise BackupError(
                            "A restore into this database was interrupted: there is nothing complete to back up."
                        )
                    facts = _read_facts(session)
                    with backup.add(DUMP) as target:
                        dump(url, target, session=session)
                files = {name: Path(settings.DATA_DIR) / name for name in DEMO_FILES}
                secrets = {
                    "keys": {name: env_str(name, "") for name in NAMES},
                    "files": {
                        name: path.read_text(encoding="utf-8")
                        for name, path in files.items()
                        if path.exists()
                    },
                }
                backup.finish(facts, secrets=secrets, passphrase=passphrase)
        except BackupError as error:
            raise CommandError(str(error)) from None
        sealed = "without a seal"
        if seal := facts["seal"]:
            sealed = f"sealed up to entry {seal['size']:,} by seal {seal['number']:,}"
        moment = facts["made_at"][:19].replace("T", " ")
        self.stdout.write(
            f"{path} holds the desk as of {moment} UTC: {facts['entries']:,} entries of the ledger, {sealed}; "
            f"{path.stat().st_size / 1e6:,.1f} MB.\n"
            "Its keys are encrypted with the passphrase, without which it cannot be restored; messages, people and the "
            "ledger are not. Keep it where only you can read it, and the passphrase elsewhere."
        )


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
    migrations = session.execute(
        "SELECT app, name FROM django_migrations ORDER BY app, name"
    ).fetchall()
    return {
        "version": product_version(),
        "made_at": at.astimezone(UTC).isoformat(),
        "postgresql": session.info.server_version // 10_000,
        "migrations": [list(one) for one in migrations],
        "entries": entries,
        "seal": seal_facts,
    }
