"""The parser, which reads strangers' bytes for all other processes: a server of ours
behind a Unix socket.
"""

import contextlib
import signal
import socket
from pathlib import Path

from launcher.child import spawn
from launcher.embedded import EmbeddedServer
from launcher.heartbeat import SILENT_LOOKS, Heartbeat
from launcher.paths import PYTHON, ROOT

# What it can be asked: the desk's jobs and the gateway's.
JOBS = (
    "rendering.jobs",
    "mirror.attachments.jobs",
    "audit.verification.jobs",
    "gateway.jobs",
)


class Parser(EmbeddedServer):
    """One parser. It stores nothing, and gets none of the product's variables: some of
    them are secrets.
    """

    name = "parser"
    title = "The parser"
    start_seconds = 30
    end = ((signal.SIGKILL, 2),)

    def __init__(
        self, *, sockets: Path, log: Path, jobs: tuple[str, ...] = JOBS
    ) -> None:
        super().__init__(data=ROOT, sockets=sockets, log=log)
        self.socket = sockets / "parser.sock"
        self.socket_of_pages = sockets / "pages.sock"
        self._jobs = jobs
        self._heartbeat = Heartbeat(log.with_suffix(".heartbeat"))
        self._silent_looks = 0

    def start(self) -> None:
        """Start it and return when it answers."""
        for one in (self.socket, self.socket_of_pages):
            one.unlink(missing_ok=True)
        program = str(ROOT / "parsing" / "program.py")
        command = [
            str(PYTHON),
            "-I",
            program,
            str(self.sockets),
            str(self._heartbeat.file),
            *self._jobs,
        ]
        self.process = spawn(
            command,
            environment=self._environment,
            log=self.log,
            death_signal=signal.SIGKILL,
            folder=Path("/"),
        )
        self._silent_looks = 0
        self._wait_until_ready(self.process)

    def end_if_hanging(self) -> bool:
        """Kill it if it gave no sign of work for long."""
        if self.process is None:
            return False
        self._silent_looks = (
            0 if self._heartbeat.has_beaten() else self._silent_looks + 1
        )
        if self._silent_looks < SILENT_LOOKS:
            return False
        self.process.kill()
        return True

    def _is_ready(self, pid: int) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.socket))
            return True
        return False
