"""The format of a backup file: a zip with the database dump, the seals, a manifest, and
the keys.

The keys are encrypted with a passphrase. Encrypted with them is the checksum of the
manifest, which contains the checksums of all other files. So nobody can alter a backup
undetected without the passphrase. Nothing here imports Django, because a backup is
opened before there is a key to configure Django with.

The database is dumped, and a dump is loaded, with PostgreSQL's own programs. The dump is
streamed, so no other copy of it is stored on the way.

SQL is used instead of Django's ORM. Django's session belongs to the application's role,
cannot share its snapshot with pg_dump, and cannot ask about a database that has none of
the product's tables.
"""

import base64
import contextlib
import getpass
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psycopg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from common.env import BadVariable, env_str
from launcher.console import LaunchError
from launcher.postgres import postgres_clients

# The version of the format, and the names of the files in the zip.
FORMAT = 1
MANIFEST = "manifest.json"
DUMP = "database.dump"
SEALS = "seals.jsonl"
SECRETS = "secrets.json"
# In characters.
SHORTEST_PASSPHRASE = 12
# The environment variable with the passphrase.
_VARIABLE = "BACKUP_PASSPHRASE"
# The parameters by which scrypt derives the key in format 1. Each guess of a passphrase
# takes 128 MB and half a second.
_COST = {"length": 32, "n": 2**17, "r": 8, "p": 1}
# What reading a file raises that is no backup, or a damaged one.
_NO_BACKUP = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
)


class BackupError(Exception):
    """The backup cannot be made or used; the sentence says why, and what to do."""


class BackupWriter:
    """Writes a backup: files are added one after the other, and the manifest last."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._files: dict[str, dict[str, Any]] = {}

    @contextmanager
    def add(self, name: str) -> Iterator["CountedFile"]:
        """Yield a file to write to; its size and checksum go into the manifest."""
        # A dump is compressed already.
        kind = zipfile.ZIP_STORED if name == DUMP else zipfile.ZIP_DEFLATED
        entry = zipfile.ZipInfo(name)
        entry.compress_type = kind
        with self._archive.open(entry, "w", force_zip64=True) as target:
            counted = CountedFile(target)
            yield counted
        self._files[name] = {"size": counted.size, "sha256": counted.digest.hexdigest()}

    def finish(
        self, facts: Mapping[str, Any], *, secrets: Mapping[str, Any], passphrase: str
    ) -> None:
        """Write the manifest, with these facts about the backup, and the encrypted
        secrets.
        """
        manifest = json.dumps(
            {"format": FORMAT, **facts, "files": self._files}, indent=1, sort_keys=True
        ).encode()
        self._archive.writestr(MANIFEST, manifest)
        # Encrypted with the secrets, the manifest's checksum protects the whole backup.
        checksum = hashlib.sha256(manifest).hexdigest()
        content = json.dumps({**secrets, "manifest": checksum}).encode()
        salt = os.urandom(16)
        nonce = os.urandom(12)
        data = AESGCM(_key(passphrase, salt)).encrypt(nonce, content, None)
        sealed = {"kdf": "scrypt", "cipher": "AES-256-GCM"}
        for name, part in (("salt", salt), ("nonce", nonce), ("data", data)):
            sealed[name] = base64.b64encode(part).decode()
        self._archive.writestr(SECRETS, json.dumps(sealed).encode())


class CountedFile:
    """A file to write to, which counts the bytes written and computes their SHA-256."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.size += len(data)
        self.digest.update(data)
        return self._target.write(data)


@contextmanager
def new_backup(path: Path) -> Iterator[BackupWriter]:
    """Yield a writer for a backup at `path`. It writes a temporary file that only its
    owner can read, and renames it when it is complete and checked. Raises BackupError.
    """
    if path.exists():
        raise BackupError(f"{path} already exists; choose another file name.")
    part = ""
    try:
        descriptor, part = tempfile.mkstemp(
            dir=path.parent, prefix=f"{path.name}.", suffix=".part"
        )
        with open(descriptor, "w+b") as file:
            with zipfile.ZipFile(file, "w") as archive:
                yield BackupWriter(archive)
            file.flush()
            os.fsync(file.fileno())
        Backup(Path(part)).check()
        Path(part).rename(path)
    except OSError as error:
        # The disk may be full in the midst of it.
        raise BackupError(f"{path} cannot be written: {error.strerror}.") from None
    finally:
        if part:
            Path(part).unlink(missing_ok=True)


def refuse_small_disk(folder: Path, needed: int) -> None:
    """Raise BackupError if fewer bytes than `needed` are free on the folder's disk."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BackupError(
            f"{folder} has {free / 1e6:,.0f} MB free, and about {needed / 1e6:,.0f} MB are needed. Choose another "
            "disk. Nothing was written."
        )


class Backup:
    """An existing backup file. Its methods raise BackupError for anything wrong with
    it.
    """

    def __init__(self, path: Path) -> None:
        """Open the file and read its manifest. `check` compares the checksums."""
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
            self._manifest = self._archive.read(MANIFEST)
            self.manifest: dict[str, Any] = json.loads(self._manifest)
            version = int(self.manifest["format"])
            self._files = dict(self.manifest.get("files", {}))
        except OSError as error:
            raise BackupError(f"{path} cannot be read: {error.strerror}.") from None
        except _NO_BACKUP:
            raise BackupError(
                f"{path} is not a complete backup: it was cut off, or is another file."
            ) from None
        if version > FORMAT:
            raise BackupError(
                f"{path} was made by a newer Countersign ({self.manifest.get('version', 'unknown')}): use that version "
                f"or a newer one."
            )

    def check(self) -> None:
        """Compare every file with its checksum in the manifest."""
        for name, expected in self._files.items():
            try:
                with self._archive.open(name) as file:
                    digest = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]
                is_whole = digest.hexdigest() == expected["sha256"]
            except (*_NO_BACKUP, OSError):
                is_whole = False
            if not is_whole:
                raise BackupError(
                    f"{self.path} is damaged: {name} has changed since the backup was made."
                )

    def open(self, name: str) -> IO[bytes]:
        """Return one of its files, to be read from the beginning."""
        return self._archive.open(name)

    def secrets(self, passphrase: str) -> dict[str, Any]:
        """Decrypt the secrets with the passphrase. They are `keys` and `files`, each a
        dict of texts by name.
        """
        try:
            sealed = json.loads(self._archive.read(SECRETS))
            salt, nonce, data = (
                base64.b64decode(sealed[name]) for name in ("salt", "nonce", "data")
            )
            content = AESGCM(_key(passphrase, salt)).decrypt(nonce, data, None)
            secrets: dict[str, Any] = json.loads(content)
        except InvalidTag:
            raise BackupError(
                f"The passphrase does not open the keys in {self.path}: it is wrong, or the keys were altered."
            ) from None
        except _NO_BACKUP:
            raise BackupError(
                f"{self.path} is damaged: its keys cannot be read."
            ) from None
        if secrets.pop("manifest") != hashlib.sha256(self._manifest).hexdigest():
            raise BackupError(
                f"{self.path} was altered: its content is not what was written with this passphrase."
            )
        return secrets


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, **_COST).derive(passphrase.encode())


def read_passphrase(*, is_new: bool) -> str:
    """Return the passphrase: from BACKUP_PASSPHRASE, from the file that
    BACKUP_PASSPHRASE_FILE names, or typed at a prompt. A new one is typed twice.

    It is never taken from the command line, which every process of the machine can
    read. Raises BackupError.
    """
    try:
        passphrase = env_str(_VARIABLE, "")
    except BadVariable as error:
        raise BackupError(str(error)) from None
    if not passphrase:
        if not sys.stdin.isatty():
            raise BackupError(
                f"There is no terminal to ask for the passphrase: set {_VARIABLE} or {_VARIABLE}_FILE."
            )
        try:
            passphrase = getpass.getpass("Passphrase for the keys in the backup: ")
            again = getpass.getpass("Repeat it: ") if is_new else passphrase
        except (EOFError, KeyboardInterrupt):
            raise BackupError("No passphrase was given.") from None
        if again != passphrase:
            raise BackupError(
                "The two passphrases are not the same. Nothing was written."
            )
    if is_new and len(passphrase) < SHORTEST_PASSPHRASE:
        raise BackupError(
            f"The passphrase needs at least {SHORTEST_PASSPHRASE} characters."
        )
    return passphrase


# This table exists in the database from the beginning of a restore until it is
# complete. The product does not start while the table exists.
MARKER = "countersign_restoring"
# The table whose rows are not backed up: everybody signs in again after a restore.
_WITHOUT_ROWS = "django_session"
# pg_restore writes this line for every server, and servers before 17 refuse it. It is
# among the first 64 lines of a dump.
_UNKNOWN_BEFORE_17 = b"SET transaction_timeout = 0;\n"
_PREAMBLE = 64
_POOL_TRIES = 100

_OWN_TABLES = """
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') ORDER BY 1
"""
# Safe only because the database was empty: the load created everything that is in it.
_DROP_ALL = """
DO $$ DECLARE one record; BEGIN
  FOR one IN SELECT c.oid::regclass AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')
  LOOP EXECUTE 'DROP TABLE IF EXISTS ' || one.name || ' CASCADE'; END LOOP;
  FOR one IN SELECT c.oid::regclass AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = 'public' AND c.relkind = 'S'
  LOOP EXECUTE 'DROP SEQUENCE IF EXISTS ' || one.name || ' CASCADE'; END LOOP;
  FOR one IN SELECT p.oid::regprocedure AS name FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
              WHERE n.nspname = 'public' AND p.prokind = 'f'
                AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
  LOOP EXECUTE 'DROP FUNCTION IF EXISTS ' || one.name || ' CASCADE'; END LOOP;
END $$
"""


def owner_url() -> str:
    """Return the URL by which the role that owns the tables connects to the
    database.
    """
    return os.environ.get("DATABASE_OWNER_URL") or os.environ["DATABASE_URL"]


@contextmanager
def snapshot(url: str) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """Yield a session that sees the database as it is at one moment. `dump` uses the
    same snapshot. Raises BackupError where PostgreSQL refuses something.
    """
    try:
        refuse_pooler(url)
        with psycopg.connect(url, application_name="countersign backup") as session:
            # This session is idle for as long as the dump takes; it only holds the
            # snapshot.
            session.execute("SET idle_in_transaction_session_timeout = 0")
            session.commit()
            session.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            session.read_only = True
            yield session
    except psycopg.Error as error:
        raise BackupError(
            f"The database cannot be read: {_first_line(error)}"
        ) from None


def refuse_pooler(url: str) -> None:
    """Raise BackupError if a pooler lends the sessions of this URL by transaction. What
    pg_dump and a load set for their session, such as an empty search_path, would stay
    in sessions of others, which then find no table.
    """
    ask = "SELECT pg_backend_pid()"
    with (
        psycopg.connect(url, autocommit=True) as one,
        psycopg.connect(url, autocommit=True) as other,
    ):
        # A pooler gives each client an id of its own making.
        if one.execute(ask).fetchone() == (one.info.backend_pid,):
            return
        # While others use the pool, two queries in a row may get different sessions.
        for _ in range(_POOL_TRIES):
            if one.execute(ask).fetchone() == other.execute(ask).fetchone():
                raise BackupError(
                    "DATABASE_OWNER_URL must lead to PostgreSQL itself, and not through a pooler in transaction mode "
                    "such as PgBouncer. DATABASE_URL may. Nothing was changed."
                )


def dump(
    url: str, target: CountedFile, *, session: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    """Write a dump of what `session` sees to `target`. Raises BackupError."""
    row = session.execute("SELECT pg_export_snapshot()").fetchone()
    assert row is not None
    programs = _programs(session)
    options = [
        "--format=custom",
        f"--snapshot={row[0]}",
        f"--exclude-table-data={_WITHOUT_ROWS}",
        "--schema=public",
    ]
    with tempfile.TemporaryFile() as errors:
        process = _start(
            programs / "pg_dump", options, url, stdout=subprocess.PIPE, stderr=errors
        )
        with process:
            assert process.stdout is not None
            shutil.copyfileobj(process.stdout, target)
        _check(process, errors, "The database could not be dumped")


def refuse_used(url: str) -> None:
    """Raise BackupError unless the database is empty, because existing data must not be
    overwritten.
    """
    try:
        refuse_pooler(url)
        with psycopg.connect(url) as session:
            tables = [str(name) for (name,) in session.execute(_OWN_TABLES).fetchall()]
    except psycopg.OperationalError as error:
        raise BackupError(
            f"DATABASE_OWNER_URL does not lead to PostgreSQL: {_first_line(error)}"
        ) from None
    if MARKER in tables:
        raise BackupError(
            "An earlier restore into this database was interrupted. Drop it, and create an empty one."
        )
    if tables:
        raise BackupError(
            f"The database is not empty: it holds {len(tables)} tables ({', '.join(tables[:3])} ...). A backup can "
            "only be restored into an empty one."
        )


def load(url: str, source: IO[bytes], *, made_with: int) -> None:
    """Load a dump into an empty database, in one transaction. It was made with this major
    version of PostgreSQL, 0 if that is not known. Raises BackupError.

    The transaction also creates the table MARKER; `forget_marker` removes it.
    """
    with psycopg.connect(url) as session:
        programs = _programs(session, made_with)
        is_old = session.info.server_version < 170_000
    # The schema exists already; `prepare` grants the privileges of the roles.
    options = ["--schema=public", "--no-owner", "--no-privileges", "--file=-"]
    with tempfile.TemporaryFile() as errors:
        reader = subprocess.Popen(
            [programs / "pg_restore", *options],
            env=_environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        assert reader.stdin is not None
        feeder = threading.Thread(
            target=_feed, args=(source, reader.stdin), daemon=True
        )
        feeder.start()
        writer = _start(
            programs / "psql",
            ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"],
            url,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        with reader, writer:
            _pass_on(reader, writer, is_old=is_old)
            feeder.join()
        # Check psql first: if it stops, pg_restore ends too.
        _check(
            writer,
            errors,
            "The dump could not be loaded, and the database is as it was",
        )
        _check(reader, errors, "The dump in the backup could not be read")


def _pass_on(
    reader: "subprocess.Popen[bytes]",
    writer: "subprocess.Popen[bytes]",
    *,
    is_old: bool,
) -> None:
    assert reader.stdout is not None
    assert writer.stdin is not None
    try:
        writer.stdin.write(
            f"BEGIN;\nCREATE TABLE public.{MARKER} (since timestamptz DEFAULT now());\n".encode()
        )
        for _ in range(_PREAMBLE):
            line = reader.stdout.readline()
            if not (is_old and line == _UNKNOWN_BEFORE_17):
                writer.stdin.write(line)
        shutil.copyfileobj(reader.stdout, writer.stdin)
        # Do not commit at the end of the input: a truncated dump would leave half a
        # database.
        if reader.wait() == 0:
            writer.stdin.write(b"\nCOMMIT;\n")
        writer.stdin.close()
    except BrokenPipeError:
        # psql has stopped at an error, which it has printed.
        reader.kill()
        with contextlib.suppress(BrokenPipeError):
            writer.stdin.close()


def _feed(source: IO[bytes], target: IO[bytes]) -> None:
    try:
        with target:
            shutil.copyfileobj(source, target)
    except (BrokenPipeError, ValueError):
        # pg_restore has stopped at an error, which it has printed.
        pass


def is_being_restored(session: "psycopg.Connection[tuple[object, ...]]") -> bool:
    """Whether a restore into this database was begun and is not complete."""
    row = session.execute(
        "SELECT to_regclass(%s) IS NOT NULL", [f"public.{MARKER}"]
    ).fetchone()
    return bool(row and row[0])


def forget_marker(url: str) -> None:
    """Mark the restore as complete, so that the desk can be started, and update the
    planner's statistics.
    """
    with psycopg.connect(url) as session:
        session.execute(f"DROP TABLE public.{MARKER}")
        session.commit()
        session.autocommit = True
        session.execute("ANALYZE")


def drop_all(url: str) -> None:
    """Drop everything that a load created in an empty database."""
    with psycopg.connect(url) as session:
        session.execute(_DROP_ALL)


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().partition("\n")[0]


def _programs(
    session: "psycopg.Connection[tuple[object, ...]]", made_with: int = 0
) -> Path:
    server = session.info.server_version // 10_000
    try:
        return postgres_clients(server=max(server, made_with))
    except LaunchError as error:
        sentence = str(error)
        if made_with > server:
            sentence = (
                f"The backup was made with PostgreSQL {made_with}, and this server is {server}: install the client "
                f"programs of PostgreSQL {made_with}, or restore into a server of that version."
            )
        raise BackupError(sentence) from None


def _start(
    program: Path, options: list[str], url: str, **streams: object
) -> "subprocess.Popen[bytes]":
    parts = conninfo_to_dict(url)
    password = parts.pop("password", None)
    command = [
        str(program),
        *options,
        f"--dbname={make_conninfo('', **parts)}",
        "--no-password",
    ]
    # The password is not passed on the command line, which every process of the machine
    # can read.
    environment = _environment({"PGPASSWORD": str(password)} if password else {})
    return subprocess.Popen(command, env=environment, **streams)  # type: ignore[call-overload,no-any-return]


def _environment(more: dict[str, str]) -> dict[str, str]:
    """Return the environment for PostgreSQL's programs: libpq's variables of this
    process, so that they use the same TLS settings as the desk, and `more`.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("PG") or name in ("PATH", "HOME")
    }
    return {"LC_ALL": "C", **inherited, **more}


def _check(
    process: "subprocess.Popen[bytes]", errors: IO[bytes], sentence: str
) -> None:
    if process.returncode:
        errors.seek(0)
        error_lines = errors.read().decode(errors="replace").strip().splitlines()
        because = next(
            (line for line in error_lines if "error" in line.lower()),
            error_lines[0] if error_lines else "no reason given",
        )
        raise BackupError(f"{sentence}: {because}")
