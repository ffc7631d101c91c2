"""The stand-in's application: its id, the key that signs interactions, and the bot's
token, in a file that keeps them.

`python -m demo.discord.application FILE` makes the file; it plays the page on which
Discord shows its content to developers.
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
    """What only Discord has, and what its developer is told."""

    id: str
    bot_token: str
    key: Ed25519PrivateKey


def load_or_make(file: Path) -> Application:
    """Return the application that the file describes, or a new one, which is stored
    there.
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
