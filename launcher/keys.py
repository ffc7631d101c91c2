"""Makes the secrets of an installation once, and stores them in DATA_DIR for its owner
only.

The three keys are in secrets.env. The demo also has a Discord application on its
stand-in for Discord, with keys in discord.env.
"""

import base64
import fcntl
import os
from pathlib import Path

from common.credentials import read_credentials, write_credentials
from common.demo import APPLICATION_FILE
from launcher.child import run_to_its_end
from launcher.console import LaunchError
from launcher.environment import DISCORD, PRODUCT_VARIABLES, Environment
from launcher.paths import PYTHON, ROOT

# The number of random bytes of each key.
_SIZES = {"SECRET_KEY": 48, "ENCRYPTION_KEYS": 32, "SEAL_KEY": 32}
NAMES = tuple(_SIZES)
FILE = "secrets.env"


def load_or_make(environment: Environment, *, may_make: bool = True) -> dict[str, str]:
    """Returns the keys by variable: from the caller's environment, else from the file,
    else new ones, which it stores in the file. A key for which the caller names a file
    (NAME_FILE) is left out. Raises LaunchError if it may make none and one is missing.
    """
    outside = environment.outside
    _refuse_readable_by_others(environment)
    wanted = [n for n in NAMES if n not in outside and f"{n}_FILE" not in outside]
    file = environment.data / FILE
    descriptor = os.open(environment.data, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Of several processes that start at the same time, one makes the keys.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        stored = read_credentials(file)
        missing = [name for name in wanted if name not in stored]
        if missing and not may_make:
            raise LaunchError(
                f"{missing[0]} is neither set nor in {file}. `prepare` makes the keys, and runs before all others."
            )
        if missing:
            made = new_keys()
            stored |= {name: made[name] for name in missing}
            about = "# Made by ./run. Without these keys what is stored encrypted cannot be read again: keep a copy.\n"
            write_credentials(file, stored, about=about)
    finally:
        os.close(descriptor)
    return {
        name: outside.get(name) or stored[name]
        for name in NAMES
        if f"{name}_FILE" not in outside
    }


def _refuse_readable_by_others(environment: Environment) -> None:
    """Raises LaunchError if every account of the machine can read a secret. In
    /run/secrets a container's runtime puts them so, and no other account is there.
    """
    files = [
        Path(environment.outside[f"{name}_FILE"])
        for name in PRODUCT_VARIABLES
        if f"{name}_FILE" in environment.outside
    ]
    for file in (environment.data / FILE, *files):
        if (
            file.exists()
            and file.stat().st_mode & 0o004
            and not file.is_relative_to("/run/secrets")
        ):
            raise LaunchError(
                f"{file} has secrets, and every account of this machine can read it: chmod o= {file}"
            )


def new_keys() -> dict[str, str]:
    """Returns three new keys in URL-safe base64. Encryption and signing need exactly 32
    bytes; Django wants at least fifty characters.
    """
    return {
        name: base64.urlsafe_b64encode(os.urandom(size)).decode()
        for name, size in _SIZES.items()
    }


def demo_application(environment: Environment) -> dict[str, str]:
    """Returns the desk's variables for the demo's Discord application, which it makes
    if necessary; none without the demo, or if the caller names an application.
    """
    if environment.demo == "0" or any(name in environment.outside for name in DISCORD):
        return {}
    file = environment.data / APPLICATION_FILE
    if not file.exists():
        # Another process makes the key, so that the library for it is not loaded into
        # the launcher, which stays in memory.
        run_to_its_end(
            [str(PYTHON), "-m", "demo.discord.guild", str(file)],
            "The demo's Discord application could not be created.",
            cwd=ROOT,
        )
    application = read_credentials(file)
    url = f"http://127.0.0.1:{environment.ports['DISCORD_PORT']}/api/v10"
    variables = {name: application.get(name, "") for name in DISCORD}
    return {**variables, "DISCORD_API_URL": url}
