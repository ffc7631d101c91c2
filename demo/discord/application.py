"""The Discord application of the demo: its id, the key that signs interactions, and the
bot's token. They are stored in a file.

`python -m demo.discord.application FILE` makes the file. Real developers find these
values on a page of Discord's.
"""

import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.credentials import read_credentials, write_credentials
from common.demo import APP_ID


@dataclass(frozen=True)
class Application:
    """The application's values, with the private key, which only Discord would have."""

    id: str
    bot_token: str
    key: Ed25519PrivateKey


def load_or_make(file: Path) -> Application:
    """Return the application in the file. If there is no file, make a new application
    and store it there.
    """
    if not file.exists():
        key = Ed25519PrivateKey.generate()
        values = {
            "DISCORD_APP_ID": APP_ID,
            "DISCORD_PUBLIC_KEY": key.public_key().public_bytes_raw().hex(),
            "DISCORD_BOT_TOKEN": f"demo.{secrets.token_urlsafe(32)}",
            "DISCORD_PRIVATE_KEY": key.private_bytes_raw().hex(),
        }
        write_credentials(file, values)
    stored = read_credentials(file)
    return Application(
        stored["DISCORD_APP_ID"],
        stored["DISCORD_BOT_TOKEN"],
        Ed25519PrivateKey.from_private_bytes(
            bytes.fromhex(stored["DISCORD_PRIVATE_KEY"])
        ),
    )


if __name__ == "__main__":
    load_or_make(Path(sys.argv[1]))
