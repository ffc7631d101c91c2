"""The demo's own application on its stand-in for Discord: what the desk is told of it, as of one at Discord itself."""

import subprocess

from common.demo_discord import APPLICATION_FILE
from launcher.environment import DISCORD, Environment
from launcher.errors import LaunchError
from launcher.keys import read_assignments
from launcher.paths import PYTHON, ROOT

_TOLD = ("DISCORD_APP_ID", "DISCORD_PUBLIC_KEY", "DISCORD_BOT_TOKEN")


def application(environment: Environment) -> dict[str, str]:
    """The desk's variables of the stand-in's application; none without the demo, or where an application is given."""
    if environment.demo == "0" or any(name in environment.outside for name in DISCORD):
        return {}
    file = environment.data / APPLICATION_FILE
    if not file.exists():
        # Its key is made where the library for it is loaded anyway: the launcher stays in memory.
        made = subprocess.run(
            [str(PYTHON), "-m", "demo.discord.application", str(file)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise LaunchError("The demo's Discord application could not be made.", details=made.stderr)
    known = read_assignments(file)
    url = f"http://127.0.0.1:{environment.ports['DISCORD_PORT']}/api/v10"
    return {name: known.get(name, "") for name in _TOLD} | {"DISCORD_API_URL": url}
