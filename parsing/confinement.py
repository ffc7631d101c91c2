"""Takes from a process every right that parsing does not need. Used by `program.py`
only.

The program leaves the network and its user account once, before its first request. Each
process that runs requests then also loses the right to open files and to start processes,
and gets limits of time and memory. None of this can be undone.
"""

import codecs
import contextlib
import ctypes
import encodings
import os
import pkgutil
import resource
import signal
import sys
from importlib.machinery import PathFinder

# A user id that no other process has. Not that of nobody (65534): PostgreSQL may run as
# that user.
_ACCOUNT = 65_533
# From the kernel's headers: flags of unshare, options of prctl, a version of capset.
_NEW_IPC = 0x08000000
_NEW_USER = 0x10000000
_NEW_NETWORK = 0x40000000
_PDEATHSIG = 1
_DUMPABLE = 4
_NO_NEW_PRIVILEGES = 38
_CAPABILITIES_3 = 0x20080522
_LIBC = ctypes.CDLL(None, use_errno=True)


def leave_network_and_account() -> bool:
    """Confine the whole program. Return whether the kernel gave it a network of its
    own, which is empty and connected to nothing.

    Raises OSError if it runs as root and cannot change to another account; the program
    then must not go on.
    """
    # Python loads an encoding from a file when it first needs it, and a confined process
    # cannot open files.
    for module in pkgutil.iter_modules(encodings.__path__):
        # Some are of Windows alone.
        with contextlib.suppress(LookupError):
            codecs.lookup(module.name)
    is_root = os.geteuid() == 0
    flags = _NEW_NETWORK | _NEW_IPC | (0 if is_root else _NEW_USER)
    has_own_network: bool = sys.platform == "linux" and _LIBC.unshare(flags) == 0
    if is_root:
        # Some limits have no effect on root.
        os.setgroups([])
        os.setresgid(_ACCOUNT, _ACCOUNT, _ACCOUNT)
        os.setresuid(_ACCOUNT, _ACCOUNT, _ACCOUNT)
    # Drop all capabilities. A process has them in a user namespace of its own, and they
    # open parts of the kernel that parsing does not need.
    _LIBC.capset(
        ctypes.byref((ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0)),
        ctypes.byref((ctypes.c_uint32 * 6)()),
    )
    _LIBC.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _LIBC.prctl(_DUMPABLE, 0, 0, 0, 0)
    # This comes after the change of account, which would cancel it.
    end_with_parent()
    return has_own_network


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent ends."""
    _LIBC.prctl(_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def limit(*, seconds: int, memory: int) -> None:
    """Confine a process that runs requests: it gets `seconds` of processor time and
    `memory` bytes of address space, and can open or start nothing new.
    """
    end_with_parent()
    # What is not imported yet cannot be: libraries expect an ImportError then, and
    # not that files cannot be opened.
    sys.meta_path.remove(PathFinder)
    for kind, most in (
        (resource.RLIMIT_AS, memory),
        # The soft and the hard limit are equal, so the kernel kills without a warning.
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        # No new file, socket or pipe can be opened. Those that are open still work.
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(kind, (most, most))
