"""Takes from a process all that parsing does not need. Runs in `program.py` only.

The program leaves the network and its account once, before its first request; each
request's process then gives up files, processes, time and memory, and cannot get any of
that back.
"""

import codecs
import ctypes
import os
import resource
import signal
import sys

# Of no other process: PostgreSQL may run as nobody (65534).
_ACCOUNT = 65_533
# Python looks each encoding up in a file of its own, when it first needs it.
_ENCODINGS = (
    *"ascii latin-1 utf-8 utf-8-sig utf-16 utf-16-le utf-16-be utf-32 utf-7".split(),
    *"cp437 cp850 cp852 cp866 cp874 cp932 cp936 cp949 cp950".split(),
    *(f"cp{number}" for number in range(1250, 1259)),
    *(f"iso8859-{number}" for number in (*range(2, 12), *range(13, 17))),
    *"koi8-r koi8-u mac-roman gb2312 gbk gb18030 big5 big5hkscs hz euc-jp".split(),
    *"euc-kr shift-jis iso2022-jp iso2022-kr base64 quopri uu".split(),
)
_NEW_IPC = 0x08000000
_NEW_USER = 0x10000000
_NEW_NETWORK = 0x40000000
_PDEATHSIG = 1
_DUMPABLE = 4
_NO_NEW_PRIVILEGES = 38
_CAPABILITIES_3 = 0x20080522
_LIBC = ctypes.CDLL(None, use_errno=True)


def leave_network_and_account() -> bool:
    """Confine the whole program; return whether the kernel gave it a network of its
    own, in which nothing is.

    Raises OSError where root cannot become another account: then nothing is parsed.
    """
    for encoding in _ENCODINGS:
        codecs.lookup(encoding)
    is_root = os.geteuid() == 0
    flags = _NEW_NETWORK | _NEW_IPC | (0 if is_root else _NEW_USER)
    has_own_network: bool = sys.platform == "linux" and _LIBC.unshare(flags) == 0
    if is_root:
        # Some limits do not hold for root.
        os.setgroups([])
        os.setresgid(_ACCOUNT, _ACCOUNT, _ACCOUNT)
        os.setresuid(_ACCOUNT, _ACCOUNT, _ACCOUNT)
    # Capabilities in a user namespace of its own reach parts of the kernel that nothing
    # here needs.
    _LIBC.capset(
        ctypes.byref((ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0)),
        ctypes.byref((ctypes.c_uint32 * 6)()),
    )
    _LIBC.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _LIBC.prctl(_DUMPABLE, 0, 0, 0, 0)
    # After the change of account, which would undo it.
    end_with_parent()
    return has_own_network


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent ends."""
    _LIBC.prctl(_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def limit(*, seconds: int, memory: int) -> None:
    """Give up everything but what is open, so many seconds of processor time and so
    many bytes of address space.
    """
    end_with_parent()
    for kind, most in (
        (resource.RLIMIT_AS, memory),
        # Without a difference between the two limits the kernel kills at once.
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        # Whatever needs a new descriptor fails: each file, socket, pipe. Those that are
        # open go on working.
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(kind, (most, most))
