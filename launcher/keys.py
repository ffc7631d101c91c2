"""The three keys of an installation: made once, kept in DATA_DIR/secrets.env for its owner's eyes only."""

import base64
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from launcher.environment import Environment
from launcher.errors import LaunchError

_SIZES = {"SECRET_KEY": 48, "ENCRYPTION_KEYS": 32, "SEAL_KEY": 32}
NAMES = tuple(_SIZES)
FILE = "secrets.env"


def load_or_make(environment: Environment) -> dict[str, str]:
    """Keys from the environment, else from the file, else new ones, which are then kept in the file."""
    file = environment.data / FILE
    kept = read_assignments(file)
    given = environment.outside
    missing = [name for name in NAMES if name not in given and f"{name}_FILE" not in given and name not in kept]
    if missing:
        _refuse_to_invent(environment, missing)
        made = new_keys()
        kept |= {name: made[name] for name in missing}
        _write(file, kept)
    return {name: given.get(name) or kept[name] for name in NAMES if f"{name}_FILE" not in given}


def read_assignments(file: Path) -> dict[str, str]:
    """A file of shell assignments as a dictionary; empty when there is no file."""
    try:
        text = file.read_text()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise LaunchError(f"{file} cannot be read: {error.strerror}.") from error
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    pairs = (line.strip().removeprefix("export ").partition("=") for line in lines)
    return {name: "".join(shlex.split(value)) for name, _, value in pairs}


def _refuse_to_invent(environment: Environment, missing: list[str]) -> None:
    """A key invented on one of several hosts could not read what the others wrote."""
    if environment.demo == "0" and not environment.own_database:
        raise LaunchError(
            f"{missing[0]} is not set. With a DATABASE_URL of your own and DEMO=0 every host needs the same "
            f"{', '.join(NAMES)}: random bytes in URL-safe base64, 48 for the first, 32 for the others."
        )


def new_keys() -> dict[str, str]:
    """All three, in URL-safe base64. Encryption and signing take 32 bytes; Django asks for fifty letters or more."""
    return {name: base64.urlsafe_b64encode(os.urandom(size)).decode() for name, size in _SIZES.items()}


def _write(file: Path, values: Mapping[str, str]) -> None:
    """Whole or not at all, and never readable by others, not even for a moment."""
    partial = file.with_suffix(".part")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w") as target:
        target.write(
            "# Made by ./run. Without these keys what is stored encrypted cannot be read again: keep a copy.\n"
        )
        target.writelines(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
        target.flush()
        os.fsync(target.fileno())
    partial.replace(file)
