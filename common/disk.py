"""Checks whether a disk is full, by its free space or by an error. Standard library
only: the launcher uses it too.
"""

import errno
import os
from pathlib import Path

# In bytes. PostgreSQL's write-ahead log has files of this size, and PostgreSQL stops if
# it cannot begin the next one.
LEAST_FREE = 16 * 1024**2
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_SQLSTATE_DISK_FULL = "53100"


def is_full(folder: Path) -> bool:
    """Whether fewer than LEAST_FREE bytes are free."""
    return not has_free(folder, LEAST_FREE)


def has_free(folder: Path, size: int) -> bool:
    """Whether so many bytes are free for a user without privileges. True if this cannot
    be found out.
    """
    try:
        status = os.statvfs(folder)
    except OSError:
        return True
    return status.f_bavail * status.f_frsize >= size


def is_disk_full_error(error: BaseException | None) -> bool:
    """Whether the error, or one that caused it, says that a disk is full: the disk of
    this host or that of PostgreSQL.
    """
    while error is not None:
        if getattr(error, "sqlstate", "") == _SQLSTATE_DISK_FULL:
            return True
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            return True
        error = error.__cause__
    return False
