"""The stand-in's application: its id, the key that signs interactions, the bot's token,
and the slash commands that it registered. Each in a file that keeps them.

`python -m demo.discord.application FILE` makes the first file; it plays the page on
which Discord shows its content to developers.
"""

import json
import secrets
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.credentials import read_credentials, write_credentials
from common.demo import APP_ID
from demo.discord.limits import find_command_errors
from demo.discord.messages import Refused

MAX_VALUE = 6000


@dataclass
class Commands:
    """What was registered last; every registration replaces all."""

    file: Path
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def listed(self) -> list[dict[str, Any]]:
        """Return the commands as Discord gives them back."""
        try:
            commands = json.loads(self.file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return []
        return [
            {**one, "id": f"{APP_ID}{number:02d}", "version": "1"}
            for number, one in enumerate(commands, 1)
        ]

    def replace(self, commands: Any) -> list[dict[str, Any]]:
        """Take these in place of all others, and return them. Raises Refused with the
        tree of errors.
        """
        if errors := find_command_errors(commands):
            raise Refused(400, 50035, "Invalid Form Body", errors)
        with self._lock:
            partial = self.file.with_suffix(".part")
            partial.write_text(json.dumps(commands), encoding="utf-8")
            partial.replace(self.file)
        return self.listed()

    def find(self, name: str) -> dict[str, Any] | None:
        """Return the command of that name."""
        return next((one for one in self.listed() if one["name"] == name), None)


@dataclass(frozen=True)
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
