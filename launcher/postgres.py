"""The embedded PostgreSQL: makes its data folder, starts, recovers and stops it. Unix socket only, no TCP.

The caller holds the lock of the data folder; everything here relies on nobody else starting a server over it.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

from common import disk
from launcher import logs, orphans
from launcher.errors import LaunchError
from launcher.programs import hand_to, let_through, major_version, must_reach, postgres_programs, unprivileged
from launcher.spawn import spawn

OWNER = "countersign_owner"
APPLICATION = "countersign"
DATABASE = "countersign"

# A laptop's share: 15 MB resident. Everything may be raised on a server of one's own.
_SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    "max_logical_replication_workers": "0",
    "log_checkpoints": "off",
}
# For tests only: nothing of theirs has to survive the machine, and no table lives long enough to be vacuumed.
_FLEETING = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "autovacuum": "off"}
# May be interrupted anywhere and run again. The owner migrates; what the application may do, migrations grant.
_ROLES = f"""
SELECT 'CREATE ROLE {APPLICATION} LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{APPLICATION}') \\gexec
SELECT 'CREATE DATABASE {DATABASE}' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{DATABASE}') \\gexec
"""  # noqa: S608 constants of this file
# On a full disk PostgreSQL goes on, and answers what only reads, as long as it need not make another file of its log.
# At each checkpoint it keeps files for reuse, up to min_wal_size (80 MB); these are the first.
_SPARE_FILES = 3
_SPARE = "SELECT pg_create_restore_point('spare');\nSELECT pg_switch_wal();\n" * _SPARE_FILES + "CHECKPOINT;\n"
_START_SECONDS = 60  # recovery after a crash replays the log first


class Postgres:
    """One server over one folder."""

    name = "postgres"

    def __init__(self, *, data: Path, sockets: Path, log: Path, durable: bool = True) -> None:
        self.data = data
        self.sockets = sockets
        self.log = log
        self.durable = durable
        self.process: subprocess.Popen[bytes] | None = None
        self._programs = postgres_programs()
        self._identity = unprivileged()
        # Neither PGHOST nor LC_* of the caller may reach the server or psql.
        self._environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}

    def url(self, role: str = APPLICATION) -> str:
        """The address for a role, over the socket."""
        return f"postgresql://{role}@/{DATABASE}?host={quote(str(self.sockets), safe='')}"

    def start(self) -> None:
        """Starts the server and returns when it accepts connections. A crash before is recovered from."""
        let_through(self._identity, self.data.parent)
        must_reach(self._identity, self._programs, self.data.parent)
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._refuse_another_version()
        hand_to(self._identity, self.data, self.sockets)
        self._clear_remains()
        self.process = spawn(
            [str(self._programs / "postgres"), "-D", str(self.data), *self._options()],
            environment=self._environment,
            log=self.log,
            death_signal=signal.SIGINT,  # a fast, clean shutdown
            folder=self.data,
            identity=self._identity,
        )
        self._wait_until_ready(self.process)
        self._ensure_roles()
        if self.durable:
            self._ensure_spare_log()

    def stop(self) -> None:
        """A fast shutdown: open transactions are rolled back, the next start needs no recovery."""
        if self.process is None:
            return
        for signum, seconds in ((signal.SIGINT, 5), (signal.SIGQUIT, 1), (signal.SIGKILL, 1)):
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signum)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
                break
        self.process = None

    def _options(self) -> list[str]:
        settings = _SETTINGS | ({} if self.durable else _FLEETING) | {"unix_socket_directories": str(self.sockets)}
        if self._major() >= 18:
            settings["io_method"] = "sync"  # the default starts three more processes
        return [f"--{name}={value}" for name, value in settings.items()]

    def _major(self) -> int:
        return int((self.data / "PG_VERSION").read_text().strip())

    def _refuse_another_version(self) -> None:
        """PostgreSQL opens no folder of another major version, and says so in its log only."""
        made, brought = self._major(), major_version(self._programs / "postgres")
        if made > brought:
            raise LaunchError(
                f"{self.data} was made by PostgreSQL {made}, and this Countersign brings {brought}: start the newer "
                "Countersign that made it. Nothing was changed."
            )
        if made < brought:
            raise LaunchError(
                f"{self.data} was made by PostgreSQL {made}, and this Countersign brings {brought}. Make a backup with "
                "the Countersign that used it last, restore it with this one: docs/operators/upgrade.md. "
                "Nothing was changed."
            )

    def _initialise(self) -> None:
        """Beside its place, then moved there: an interrupted initdb leaves nothing that looks finished."""
        partial = self.data.with_name(self.data.name + ".part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        hand_to(self._identity, partial)
        options = ["--auth=trust", "--encoding=UTF8", "--no-instructions", f"--username={OWNER}", "--no-sync"]
        result = subprocess.run(
            [*self._identity.wrapper, str(self._programs / "initdb"), f"--pgdata={partial}", *options, *self._locale()],
            env=self._environment,
            cwd=partial,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            **self._identity.popen,
        )
        if result.returncode != 0:
            raise LaunchError("PostgreSQL could not make its data folder.", details=result.stderr)
        if self.durable:
            os.sync()
        with contextlib.suppress(OSError):
            self.data.rmdir()
        partial.rename(self.data)

    def _locale(self) -> list[str]:
        """Unicode without depending on the machine's locales; servers before 17 lack it and get the plain one."""
        major = major_version(self._programs / "postgres")
        builtin = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return builtin if major >= 17 else ["--locale=C.UTF-8"]

    def _clear_remains(self) -> None:
        """After kill -9: backends that live on, and lock files that name a process which is only a zombie now."""
        orphans.end_in_folder(comm="postgres", folder=self.data)
        remains = (self.data / "postmaster.pid", self.sockets / ".s.PGSQL.5432", self.sockets / ".s.PGSQL.5432.lock")
        for path in remains:
            path.unlink(missing_ok=True)

    def _wait_until_ready(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise LaunchError("PostgreSQL ended while it started.", details=logs.tail(self.log))
            if self._says_ready(process.pid):
                return
            time.sleep(0.01)
        raise LaunchError(f"PostgreSQL was not ready within {_START_SECONDS} s.", details=logs.tail(self.log))

    def _says_ready(self, pid: int) -> bool:
        """The file of an earlier server still says "ready", so the first line must be this process."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"

    def _ensure_roles(self) -> None:
        done = self.data / "countersign_roles"
        if done.exists():
            return
        self._sql(_ROLES, "PostgreSQL's roles could not be made.")
        done.touch()

    def _ensure_spare_log(self) -> None:
        files = [path for path in (self.data / "pg_wal").iterdir() if len(path.name) == 24]
        # Where there is little room, making files of it would end PostgreSQL now.
        if len(files) <= _SPARE_FILES and disk.has_free(self.data, 2 * _SPARE_FILES * disk.LEAST_FREE):
            self._sql(_SPARE, "PostgreSQL could not make its log's files.")

    def _sql(self, text: str, error: str) -> None:
        """Runs statements as the owner. Raises LaunchError with this sentence and what psql says."""
        command = [str(self._programs / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-U", OWNER]
        result = subprocess.run(
            [*command, "-h", str(self.sockets)],
            input=text,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise LaunchError(error, details=result.stderr)
