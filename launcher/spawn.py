"""Starts one process the way every child of the launcher is started. Knows nothing of what the process is for."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.paths import ROOT
from launcher.pdeathsig import die_with_parent


@dataclass(frozen=True, kw_only=True)
class Identity:
    """As whom a program runs: a wrapper in front of the command, or arguments for Popen."""

    wrapper: tuple[str, ...] = ()
    popen: Mapping[str, Any] = field(default_factory=dict)


def spawn(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    death_signal: int,
    folder: Path = ROOT,
    identity: Identity = Identity(),
) -> "subprocess.Popen[bytes]":
    """A session of its own (a terminal's Ctrl-C reaches the launcher only), a log, and death with the launcher."""
    launcher = os.getpid()
    # Appending, because the log is emptied in place when it has grown too long.
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            [*identity.wrapper, *command],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(death_signal, parent=launcher),
            **identity.popen,
        )
    finally:
        os.close(descriptor)
