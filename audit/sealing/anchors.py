"""Writes each seal as a line (checkpoint) into the seals' file (SEAL_FILE), which should
be where somebody who alters the database cannot reach it, and stores a row (anchor) for
each seal that was written. Also reads the file.

If the database does not have the seal of the file's last readable line, entries were
deleted or altered, or a backup was restored. Then nothing more is sealed until an
operator says why.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from socket import gethostname
from typing import IO, Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max, QuerySet

from audit.models import Anchor, Entry, Seal
from audit.recording import record
from audit.sealing.signing import SEALER, SealingRefused, public_key, public_keys, sign
from audit.verifier import countersign_verify as verifier
from common.postgres import clock, try_lock

log = logging.getLogger(__name__)

# How many bytes at the end of the file are read: far more than the lines of one write.
_TAIL = 4 * 1024 * 1024
# How many checkpoints are written at a time.
_AT_ONCE = 500
# How long a new seal may be missing in the file before the status page says so.
PATIENCE = timedelta(minutes=1)
_FAILED = "ledger.anchor_failed"
# The name of the lock of whoever writes the file.
_LOCK = "audit.anchors"


@transaction.atomic
def write_anchors() -> int:
    """Write new seals to the seals' file, and store an anchor for each of them, also for
    those that a crash left in the file without one. Return how many anchors were
    stored. If the file cannot be written, that is recorded, and sealing goes on.

    Does nothing without a key, while another host writes (each seal is in the file of
    one host), or if the file is ahead of the database.
    """
    if not public_keys() or not try_lock(_LOCK):
        return 0
    pending = list(after_newest_anchor()[:_AT_ONCE])
    if not pending or unknown_heads():
        return 0
    path = Path(settings.SEAL_FILE)
    try:
        with _locked(path) as file:
            end, tail = _read_tail(file)
            lines = set(tail.splitlines(keepends=True))
            new = [line for line in map(Seal.as_line, pending) if line not in lines]
            if new:
                # A crash may have left an incomplete line. It is cut off, and written
                # again, since its seal has no anchor yet.
                end -= len(tail) - tail.rfind(b"\n") - 1
                file.truncate(end)
                file.seek(end)
                file.write(b"".join(new))
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        sentence = f"The seals' file {path} cannot be written: {error.strerror}."
        log.error("no anchor", extra={"reason": sentence})
        # Recorded once for all seals that are pending now.
        if not Entry.objects.of_action(_FAILED).filter(at__gt=pending[0].at).exists():
            record(_FAILED, SEALER, details={"reason": sentence})
        return 0
    previous = anchors_here().aggregate(seal=Max("seal"))["seal"] or 0
    at = clock()
    key = public_key()
    anchors = []
    for seal in pending:
        anchor = Anchor(
            seal=seal.number,
            seal_signature=seal.signature,
            previous=previous,
            at=at,
            key=key,
            **_here(),
        )
        anchor.signature = sign(anchor)
        anchors.append(anchor)
        previous = seal.number
    Anchor.objects.bulk_create(anchors, ignore_conflicts=True)
    return len(pending)


def _here() -> dict[str, str]:
    place = str(settings.SEAL_FILE)
    return {"kind": Anchor.Kind.FILE, "place": place, "reference": gethostname()}


def anchors_here() -> QuerySet[Anchor]:
    """Return the anchors of the seals that this host wrote to the seals' file."""
    return Anchor.objects.filter(**_here())


def unknown_heads() -> list[verifier.Seal]:
    """Return the checkpoints at the end of the file that the database does not have,
    the newest first; none if a restore was sealed since they were written, or if the
    file cannot be read.
    """
    unknown = []
    with suppress(OSError):
        for head in newest_heads():
            stored = Seal.objects.filter(number=head.number, signature=head.signature)
            # A newer `restored` seal explains that the checkpoint is missing, if the
            # ledger was continued before it.
            restored = Seal.objects.filter(
                kind=Seal.Kind.RESTORED,
                at__gt=datetime.fromisoformat(head.at),
                number__lte=head.number,
            )
            if stored.exists() or restored.exists():
                break
            unknown.append(head)
    return unknown


def end_of_file() -> bytes:
    """Return the last 4 MB of the seals' file, beginning at a line. Raises OSError."""
    with Path(settings.SEAL_FILE).open("rb") as file:
        end, tail = _read_tail(file)
    return tail if end == len(tail) else tail.partition(b"\n")[2]


def newest_heads() -> Iterator[verifier.Seal]:
    """Yield the checkpoints in the end of the file, the newest first. Lines that are
    incomplete or malformed are left out. Raises OSError.
    """
    for line in reversed(end_of_file().splitlines(keepends=True)):
        if line.endswith(b"\n"):
            with suppress(ValueError):
                yield verifier.Seal(verifier.read_json(line))


def missing_lines(most: int) -> list[int]:
    """Return which of the newest `most` seals that this host wrote to the file are not
    in it any more, by their numbers. Earlier lines may have been archived.
    """
    # Anchors are read first, because each is stored after its line.
    newest = anchors_here().order_by("-seal").values_list("seal", flat=True)[:most]
    written = set(newest)
    try:
        lines = {head.number for head in islice(newest_heads(), 2 * most)}
    except FileNotFoundError:
        lines = set()
    except OSError:
        # Sealing stops, and says why.
        return []
    first = min(lines, default=0)
    return sorted(number for number in written - lines if number > first)


def check_not_rolled_back(last: Seal | None) -> None:
    """Raise SealingRefused if the database lacks a seal at the end of the file."""
    unknown = unknown_heads()
    if not unknown:
        return
    head = unknown[0]
    ends = (
        f"the database ends at seal {last.number}" if last else "the database has none"
    )
    if last and last.number >= head.number:
        ends = "the database has another one of that number"
    raise SealingRefused(
        f"The seals' file knows seal {head.number} of {head.at}, and {ends}: the database is older than what was "
        'sealed, or was altered. If a backup was restored, run ./run manage audit_restored --because "...".'
    )


def after_newest_anchor() -> Any:
    """Return the seals that are not in the file yet, in their order."""
    newest = Anchor.objects.filter(kind=Anchor.Kind.FILE).aggregate(seal=Max("seal"))
    return Seal.objects.filter(number__gt=newest["seal"] or 0).order_by("number")


@contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    """Open the file, locked against other writers. Only the owner can read a new file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(descriptor, "rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _read_tail(file: IO[bytes]) -> tuple[int, bytes]:
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - _TAIL))
    return end, file.read()
