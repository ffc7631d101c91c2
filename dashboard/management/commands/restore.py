"""Restores a backup into an empty database, verifies the ledger, and holds back what
may have been sent since.

`./run restore` calls it, with servers that run and the keys of the backup; by itself it
is of no use.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import (
    BaseCommand,
    CommandError,
    CommandParser,
    call_command,
)
from django.db import connection

from audit.models import Entry, Seal
from audit.sealing import anchors, signing
from audit.verification.checks import check_database
from common.version import build_of, product_build
from dashboard.backup.archive import (
    DUMP,
    SEALS,
    Backup,
    BackupError,
    drop_all,
    forget_marker,
    load,
    owner_url,
    refuse_used,
)
from dashboard.health.checks import first_few, unknown_migrations


class Command(BaseCommand):
    # All or nothing: a restore that fails is removed again, and the desk does not
    # start before a restore is complete.

    # The docstring of the module.
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--seals", type=Path)

    def handle(
        self, *args: Any, file: Path, seals: Path | None, **options: Any
    ) -> None:
        try:
            self._restore(Backup(file), seals)
        except BackupError as error:
            raise CommandError(str(error)) from None

    def _restore(self, backup: Backup, seals: Path | None) -> None:
        url = owner_url()
        made_at = datetime.fromisoformat(backup.manifest["made_at"])
        if unknown := unknown_migrations(backup.manifest["migrations"]):
            raise BackupError(
                f"{backup.path} was made by a newer Countersign: it has migrations that this one does not know "
                f"({first_few(unknown)}). Restore it with that version or a newer one."
            )
        made_by = build_of(
            backup.manifest["version"], backup.manifest.get("commit", "")
        )
        if made_by != product_build():
            self._print(f"Countersign {made_by} made it; this is {product_build()}.")
        refuse_used(url)
        with _seals_file(backup, seals) as is_outside, _emptied_again(url):
            self._print("loading the dump")
            with backup.open(DUMP) as dump:
                load(url, dump, made_with=backup.manifest.get("postgresql", 0))
            call_command("prepare", restoring=True)
            self._print("checking the ledger, entry by entry")
            lost = self._prove(made_at, is_outside=is_outside)
            self._print(
                f"The desk is as it was at {_moment(made_at)}. {lost}\n\nNothing is sent automatically now:"
            )
            call_command(
                "hold_back", "--made-at", made_at.isoformat(), stdout=self.stdout
            )
            forget_marker(url)
        self._print(_NEXT)

    def _prove(self, made_at: datetime, *, is_outside: bool) -> str:
        """Resume the ledger and verify all of it. Return a sentence that says what was
        lost since the backup. Raises BackupError.
        """
        last = signing.latest_seal()
        if last is None:
            return "No entry of its ledger was sealed, so nothing proves that it is complete or shows what was lost."
        lost = _lost_since(last) if is_outside else _NOTHING_OUTSIDE
        call_command(
            "audit_restored",
            because=f"Restored from the backup of {_moment(made_at)} by ./run restore. {lost}",
            stdout=self.stdout,
        )
        result = check_database()
        if result.findings:
            raise BackupError(
                f"The ledger in this backup FAILED verification. {result.findings[0]}"
            )
        self._print(
            f"The ledger is intact: {result.entries:,} entries and {result.seals:,} seals were checked."
        )
        return lost

    def _print(self, sentence: str) -> None:
        self.stdout.write(sentence)
        sys.stdout.flush()


_NEXT = """
Permissions are as they were then: remove again what was removed since (people, API keys, allowed recipients,
kill switches). Everybody must sign in again. docs/operators/backup.md."""


_NOTHING_OUTSIDE = (
    "There is no outside copy of the seals to show what was written later and is lost."
)


def _lost_since(last: Seal) -> str:
    """Return a sentence about the entries that the seals' file proves and this database
    lacks. Raises BackupError if the file is of another desk, or if the backup was
    altered.
    """
    heads = anchors.unknown_heads()
    if not heads:
        return (
            "The outside copy of the seals has nothing later: no sealed entry is lost."
        )
    newest = heads[0]
    known_keys = {last.key, last.next_key, *signing.public_keys()}
    if newest.key not in known_keys:
        raise BackupError(
            "The seals' file is signed with a key that this ledger never had: it is of another desk."
        )
    if (first := min(head.number for head in heads)) <= last.number:
        raise BackupError(
            f"The seals' file knows another seal {first} than the backup has: the backup was altered, or one of the "
            "two is another desk's."
        )
    restored = Entry.objects.count()
    outside = (
        f"the outside copy of the seals goes on to seal {newest.number} of "
        f"{newest.at[:19].replace('T', ' ')} UTC over {newest.size:,} entries."
    )
    if newest.size <= restored:
        return f"No entry that was sealed is lost: the backup has {restored:,}, and {outside}"
    return f"Lost are at least {newest.size - restored:,} entries: the backup has {restored:,}, and {outside}"


@contextmanager
def _seals_file(backup: Backup, supplied: Path | None) -> Iterator[bool]:
    """Put the seals' file in place: the existing one, otherwise the supplied one,
    otherwise the backup's. If the restore fails, remove it again unless it existed.

    Yield whether it comes from outside the backup, so that it may have seals that were
    made after the backup.
    """
    target = Path(settings.SEAL_FILE)
    if target.exists():
        if supplied is not None and supplied.resolve() != target.resolve():
            raise BackupError(
                f"SEAL_FILE already exists: {target}. Leave out --seals to use it."
            )
        yield True
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with (
            open(descriptor, "wb") as file,
            supplied.open("rb") if supplied else backup.open(SEALS) as source,
        ):
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        target.unlink(missing_ok=True)
        raise BackupError(
            f"The seals' file {error.filename} cannot be read or written: {error.strerror}."
        ) from None
    try:
        yield supplied is not None
    except BaseException:
        target.unlink(missing_ok=True)
        raise


@contextmanager
def _emptied_again(url: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        drop_all(url)
        raise


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
