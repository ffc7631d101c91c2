"""The folder of the servers' Unix sockets. Their paths end at 107 bytes, which a clone in a deep folder exceeds."""

import os
import stat
import zlib
from pathlib import Path

from launcher.errors import LaunchError

# The longest name in it is ".s.PGSQL.5432.lock".
_LONGEST = 107 - len("/.s.PGSQL.5432.lock")


def socket_folder(data: Path) -> Path:
    """DATA_DIR/sockets, or where that is too long a folder of ours in the temporary one; 0700 either way."""
    own = data / "sockets"
    if len(os.fsencode(own)) <= _LONGEST:
        own.mkdir(mode=0o700, exist_ok=True)
        return own
    # Recognisable: the same data folder always leads to the same place, so what is stale there is found again.
    name = f"countersign-{os.geteuid()}-{zlib.crc32(os.fsencode(data)):08x}{len(os.fsencode(data)):x}"
    for base in dict.fromkeys([os.environ.get("TMPDIR", "/tmp"), "/tmp", "/dev/shm"]):  # noqa: S108 the folder is checked below
        folder = Path(base) / name
        if len(os.fsencode(folder)) <= _LONGEST and os.access(base, os.W_OK | os.X_OK):
            return _private(folder)
    raise LaunchError(
        f"DATA_DIR is too deep for the servers' sockets ({data}), and there is no temporary folder: use a shorter path."
    )


def _private(folder: Path) -> Path:
    """In a folder that everybody may write to, somebody else may have made ours first."""
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (os.geteuid(), _nobody()):
        raise LaunchError(f"{folder} belongs to somebody else; remove it, or use a shorter DATA_DIR.")
    folder.chmod(0o700)
    return folder


def _nobody() -> int:
    # As root without user namespaces the servers' folders are handed to this account.
    return 65534 if os.geteuid() == 0 else os.geteuid()
