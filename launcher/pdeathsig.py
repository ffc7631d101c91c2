"""Ties a process to its parent: when the parent dies, the kernel signals the child.

It reaches the direct child only, so a process that a child starts calls this again for
itself. Safe to import anywhere, also from the web server's and Celery's own processes;
does nothing where the kernel is not Linux.
"""

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
# Loaded at import: between fork and exec it would be too late to be safe.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(signum: int = signal.SIGKILL, *, parent: int | None = None) -> None:
    """Asks the kernel for `signum` at the parent's death. Call it in the main thread:
    it is a thread's property.

    With `parent` the caller says who it should be; a parent that died before this call
    is noticed by that.
    """
    if _libc is None:
        return
    with contextlib.suppress(OSError):
        _libc.prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)
