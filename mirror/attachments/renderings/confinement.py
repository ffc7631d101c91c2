"""Takes from this process all that reading one file does not need, before the file is read. Runs in `program.py` only.

It is left with an input, an output, some memory and some seconds: no new file, socket or process, no network, no
account, no way to get any of that back.
"""

import codecs
import ctypes
import os
import resource
import signal
import sys

# Bytes of address space, and seconds of processor time.
MAX_MEMORY = 512 * 1024 * 1024
MAX_SECONDS = 10
_NOBODY = 65_534
# Python looks each encoding up in a file of its own, when it first needs it.
_ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "ascii", "latin-1", "cp437", "cp1252")
_NEW_IPC, _NEW_USER, _NEW_NETWORK = 0x08000000, 0x10000000, 0x40000000
_PDEATHSIG, _DUMPABLE, _NO_NEW_PRIVILEGES = 1, 4, 38
_CAPABILITIES_3 = 0x20080522


def confine() -> bool:
    """Confine this process; return whether the kernel also gave it a network of its own, in which nothing is.

    Import everything first: no file can be opened afterwards. Raises OSError or ValueError where a limit cannot be set,
    or root cannot become another account: then no file is read.
    """
    for encoding in _ENCODINGS:
        codecs.lookup(encoding)
    has_own_network = sys.platform == "linux" and _leave(ctypes.CDLL(None, use_errno=True))
    for limit, value in (
        (resource.RLIMIT_AS, MAX_MEMORY),
        (resource.RLIMIT_CPU, MAX_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        # Whatever needs a new descriptor fails: each file, socket, pipe. Those that are open go on working.
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    return has_own_network


def _leave(libc: ctypes.CDLL) -> bool:
    """Leave the network and the account; what the kernel does not allow is left to the limits."""
    is_root = os.geteuid() == 0
    has_own_network: bool = libc.unshare(_NEW_NETWORK | _NEW_IPC | (0 if is_root else _NEW_USER)) == 0
    if is_root:
        # Some limits do not hold for root.
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    # Capabilities in a user namespace of its own reach parts of the kernel that nothing here needs.
    libc.capset(ctypes.byref((ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0)), ctypes.byref((ctypes.c_uint32 * 6)()))
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    libc.prctl(_DUMPABLE, 0, 0, 0, 0)
    # After the change of account, which would undo it.
    libc.prctl(_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    return has_own_network
