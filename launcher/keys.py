"""Secrets of an installation, made once and stored in DATA_DIR for its owner only.

The three keys are in secrets.env; the demo has an application of its own on its
stand-in for Discord.
"""

import base64
import os

from common.credentials import read_credentials, write_credentials
from common.demo import APPLICATION_FILE
from launcher.child import run_to_its_end
from launcher.console import LaunchError
from launcher.environment import DISCORD, Environment
from launcher.paths import PYTHON, ROOT

_SIZES = {"SECRET_KEY": 48, "ENCRYPTION_KEYS": 32, "SEAL_KEY": 32}
NAMES = tuple(_SIZES)
FILE = "secrets.env"
_APPLICATION = ("DISCORD_APP_ID", "DISCORD_PUBLIC_KEY", "DISCORD_BOT_TOKEN")


def load_or_make(environment: Environment) -> dict[str, str]:
    """Keys from the environment, else from the file, else new ones, which are then kept
    in the file.
    """
    file = environment.data / FILE
    stored = read_credentials(file)
    outside = environment.outside
    missing = [
        name
        for name in NAMES
        if name not in outside and f"{name}_FILE" not in outside and name not in stored
    ]
    if missing:
        # With external servers one host could not decrypt what the others wrote.
        if environment.demo == "0" and not environment.own_database:
            raise LaunchError(
                f"{missing[0]} is not set. With a DATABASE_URL of your own and DEMO=0 every host needs the same "
                f"{', '.join(NAMES)}: random bytes in URL-safe base64, 48 for the first, 32 for the others."
            )
        made = new_keys()
        stored |= {name: made[name] for name in missing}
        about = "# Made by ./run. Without these keys what is stored encrypted cannot be read again: keep a copy.\n"
        write_credentials(file, stored, about=about)
    return {
        name: outside.get(name) or stored[name]
        for name in NAMES
        if f"{name}_FILE" not in outside
    }


def new_keys() -> dict[str, str]:
    """All three, in URL-safe base64. Encryption and signing take 32 bytes; Django asks
    for fifty letters or more.
    """
    return {
        name: base64.urlsafe_b64encode(os.urandom(size)).decode()
        for name, size in _SIZES.items()
    }


def demo_application(environment: Environment) -> dict[str, str]:
    """The desk's variables of the stand-in's application; none without the demo, or
    where an application is given.
    """
    if environment.demo == "0" or any(name in environment.outside for name in DISCORD):
        return {}
    file = environment.data / APPLICATION_FILE
    if not file.exists():
        # Its key is made where the library for it is loaded anyway: the launcher stays
        # in memory.
        run_to_its_end(
            [str(PYTHON), "-m", "demo.discord.application", str(file)],
            "The demo's Discord application could not be created.",
            cwd=ROOT,
        )
    known = read_credentials(file)
    url = f"http://127.0.0.1:{environment.ports['DISCORD_PORT']}/api/v10"
    variables = {name: known.get(name, "") for name in _APPLICATION}
    return {**variables, "DISCORD_API_URL": url}
