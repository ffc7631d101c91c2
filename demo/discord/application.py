"""The stand-in's application: its id, the key that signs interactions, and the bot's
token. Made once, kept in a file.

`python -m demo.discord.application FILE` makes the file; it plays the page on which
Discord shows these to developers.
"""

import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.credentials import read_credentials, write_credentials
from common.demo_discord import APP_ID


@dataclass(frozen=True, slots=True)
class Application:
    """What only Discord has, and what its developer is told."""

    app_id: str
    bot_token: str
    key: Ed25519PrivateKey

    @property
    def public_key(self) -> str:
        """The key by which a desk knows that an interaction is Discord's."""
        return self.key.public_key().public_bytes_raw().hex()

    def sign(self, timestamp: str, body: bytes) -> str:
        """Return the signature of an interaction's body."""
        return self.key.sign(timestamp.encode() + body).hex()


def load_or_make(file: Path) -> Application:
    """Return the application that the file describes, or a new one, which is stored
    there.
    """
    if not file.exists():
        made = Application(
            APP_ID, f"demo.{secrets.token_urlsafe(32)}", Ed25519PrivateKey.generate()
        )
        values = {
            "DISCORD_APP_ID": made.app_id,
            "DISCORD_PUBLIC_KEY": made.public_key,
            "DISCORD_BOT_TOKEN": made.bot_token,
            "DISCORD_PRIVATE_KEY": made.key.private_bytes_raw().hex(),
        }
        write_credentials(file, values)
    stored = read_credentials(file)
    key = Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex(stored["DISCORD_PRIVATE_KEY"])
    )
    return Application(stored["DISCORD_APP_ID"], stored["DISCORD_BOT_TOKEN"], key)


if __name__ == "__main__":
    load_or_make(Path(sys.argv[1]))
