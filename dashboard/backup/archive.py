"""The format of a backup file: a zip with the database dump, the seals, a manifest, and
the keys.

The keys are encrypted with a passphrase. Encrypted with them is the checksum of the
manifest, which contains the checksums of all other files. So nobody can alter a backup
undetected without the passphrase. Nothing here imports Django, because a backup is
opened before there is a key to configure Django with.
"""

import base64
import getpass
import hashlib
import json
import os
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

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
# How many bytes are read at a time.
_AT_ONCE = 1024 * 1024
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
            digest = hashlib.sha256()
            try:
                with self._archive.open(name) as file:
                    while data := file.read(_AT_ONCE):
                        digest.update(data)
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

    def copy(self, name: str, target: Path) -> None:
        """Write one of its files to `target`, which must not exist yet. Only the owner
        of `target` can read it.
        """
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with self.open(name) as source, open(descriptor, "wb") as file:
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())

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
    passphrase = os.environ.get(_VARIABLE, "")
    if file := os.environ.get(f"{_VARIABLE}_FILE"):
        try:
            passphrase = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BackupError(
                f"{_VARIABLE}_FILE points to {file}, which cannot be read: {error}."
            ) from None
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
