"""The stand-in's application: its id, the key that signs interactions, and the bot's token. Made once, kept in a file.

`python -m demo.discord.application FILE` makes the file; it plays the page on which Discord shows these to developers.
"""

import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

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
    """Return the application that the file describes, or a new one, which is kept there."""
    if not file.exists():
        _write(file, Application(APP_ID, f"demo.{secrets.token_urlsafe(32)}", Ed25519PrivateKey.generate()))
    lines = (line.partition("=") for line in file.read_text(encoding="utf-8").splitlines())
    values = {name: value for name, _, value in lines}
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(values["DISCORD_PRIVATE_KEY"]))
    return Application(values["DISCORD_APP_ID"], values["DISCORD_BOT_TOKEN"], key)


def _write(file: Path, application: Application) -> None:
    """Whole or not at all, and never readable by others."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".part")
    partial.unlink(missing_ok=True)
    values = {
        "DISCORD_APP_ID": application.app_id,
        "DISCORD_PUBLIC_KEY": application.public_key,
        "DISCORD_BOT_TOKEN": application.bot_token,
        "DISCORD_PRIVATE_KEY": application.key.private_bytes_raw().hex(),
    }
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as target:
        target.writelines(f"{name}={value}\n" for name, value in values.items())
    partial.replace(file)


if __name__ == "__main__":
    load_or_make(Path(sys.argv[1]))
