"""Jobs for tests of the parser. They do what hostile bytes could make the real jobs do:
spin, take all memory, fail, or try what is forbidden.
"""

import os
import socket
import time
from pathlib import Path

from parsing.jobs import MEGABYTE, Job, pack
from parsing.program import QUICK


def _spin(content):
    while True:
        pass


def _work(content):
    while time.process_time() < QUICK + 0.5:
        pass
    return content


def _hoard(content):
    held = [content]
    while True:
        held.append(bytes(MEGABYTE))


def _fail(content):
    raise EOFError(content)


def _obey(content):
    """Do what the content names; otherwise say in which process."""
    acts = {b"spin": _spin, b"hoard": _hoard, b"fail": _fail}
    acts.get(content, bytes)(content)
    began = time.process_time()
    while content == b"work" and time.process_time() < began + 0.7 * QUICK:
        pass
    return b"%d" % os.getpid()


def _tries(content):
    """Try what a confined process must not do; return what worked."""
    acts = {
        "socket": socket.socket,
        "unix": lambda: socket.socket(socket.AF_UNIX),
        "file": lambda: Path("/etc/passwd").read_bytes(),
        "process": os.fork,
        "pipe": os.pipe,
        "account": lambda: os.setuid(0) if os.geteuid() else None,
        "root": lambda: os.geteuid() and os.kill(1, 0),
    }
    done = []
    for name, act in acts.items():
        try:
            act()
            done.append(name)
        except (OSError, ValueError):
            pass
    return pack({"done": done, "environment": sorted(os.environ)})


JOBS = {
    "echo": Job(lambda content: content),
    "spin": Job(_spin, seconds=1),
    "work": Job(_work),
    "hoard": Job(_hoard, memory=64 * MEGABYTE),
    "fail": Job(_fail),
    "tries": Job(_tries),
    "obey": Job(_obey, seconds=1, memory=64 * MEGABYTE),
    # In place of two real jobs, to see what the desk does when these are killed.
    "examine_content": Job(_spin, seconds=1),
    "detect_file": Job(_spin, seconds=1),
}
