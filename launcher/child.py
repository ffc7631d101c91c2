"""A process of the launcher's: starts it, starts it again with a growing pause, and ends it with its family."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher import orphans
from launcher.paths import ROOT
from launcher.pdeathsig import die_with_parent
from launcher.processes import Process

# A life shorter than this counts as a failed start.
_SHORT_LIFE = 10.0
_LONGEST_PAUSE = 10.0
# So many questions in a row without any answer mean that it hangs.
_UNANSWERED_LIMIT = 3


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


class Child:
    """A process and its history."""

    def __init__(self, process: Process, *, environment: Mapping[str, str], logs: Path) -> None:
        self.plan = process
        self.name = process.name
        self.log = logs / f"{process.name}.log"
        self.short_lives = 0
        self.running: subprocess.Popen[bytes] | None = None
        self._environment = {**environment, **process.environment}
        self.started = 0.0
        self._not_before = 0.0
        self._unanswered = 0

    def start(self) -> None:
        """Starts it. The launcher's death ends it at once: what it leaves undone is found again as rows."""
        self.started = time.monotonic()
        self._unanswered = 0
        self.running = spawn(
            self.plan.command, environment=self._environment, log=self.log, death_signal=signal.SIGKILL
        )

    def take_end(self) -> str | None:
        """How it ended, told once; whatever it started itself is ended too, since that may hold its port or queue."""
        if self.running is None or (status := self.running.poll()) is None:
            return None
        orphans.end_group(self.running.pid)
        self.running = None
        self._plan_next_start()
        return f"signal {-status}" if status < 0 else f"status {status}"

    def note_failed_start(self) -> None:
        """It could not even be started: that counts as a short life."""
        self._plan_next_start()

    def is_due(self) -> bool:
        """Whether it is down and its pause is over."""
        return self.running is None and time.monotonic() >= self._not_before

    def end_if_hanging(self) -> bool:
        """Asks whether it still answers, and kills it when it has not for long; then it is due to start again."""
        if self.running is None or time.monotonic() - self.started < _SHORT_LIFE:
            return False
        silent = any(check.is_silent() for check in self.plan.checks)
        self._unanswered = self._unanswered + 1 if silent else 0
        if self._unanswered < _UNANSWERED_LIMIT:
            return False
        orphans.end_group(self.running.pid)
        return True

    def _plan_next_start(self) -> None:
        lived = time.monotonic() - self.started
        self.short_lives = self.short_lives + 1 if lived < _SHORT_LIFE else 0
        self._not_before = time.monotonic() + pause_before_start(self.short_lives)

    def ask_to_end(self) -> None:
        """The beginning of the end: its own orderly way."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self.running.send_signal(signal.SIGTERM)

    def has_ended(self) -> bool:
        """Whether nothing is left to wait for."""
        return self.running is None or self.running.poll() is not None

    def end_now(self) -> None:
        """The end of the end: its whole group, also where it has ended in good order and a child of it has not."""
        if self.running:
            orphans.end_group(self.running.pid)
            self.running.wait()
            self.running = None


def pause_before_start(short_lives: int) -> float:
    """None the first time, then a quarter of a second, doubled up to ten."""
    return 0.0 if short_lives <= 1 else min(_LONGEST_PAUSE, 0.25 * 2 ** (short_lives - 2))
