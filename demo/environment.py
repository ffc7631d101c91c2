"""The demo's part of the environment, read once. Must not guess: a missing or bad
variable ends the start.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class BadEnvironment(Exception):
    """A variable is missing or unusable; the text names it and says what it should
    hold.
    """


@dataclass(frozen=True)
class Environment:
    """Where the demo listens, where it keeps its files, and whom it writes to."""

    data_dir: Path
    discord_port: int
    smtp_port: int
    public_url: str
    gateway_url: str
    allowed_hosts: frozenset[str]
    agent_writes: bool
    # Of the application that the desk knows; empty where this part runs by itself.
    discord_app_id: str = ""

    @property
    def outbox_dir(self) -> Path:
        """The Maildir of everything that was delivered; `credentials.env` names the
        same folder.
        """
        return self.data_dir / "outbox"


def read_environment(environ: Mapping[str, str] = os.environ) -> Environment:
    """Return the settings in `environ`, or raise `BadEnvironment`."""
    hosts = environ.get("ALLOWED_HOSTS") or "127.0.0.1,localhost"
    return Environment(
        data_dir=Path(_text(environ, "DATA_DIR")).absolute(),
        discord_port=_port(environ, "DISCORD_PORT"),
        smtp_port=_port(environ, "SMTP_PORT"),
        public_url=(environ.get("PUBLIC_URL") or "http://127.0.0.1:8000").rstrip("/"),
        gateway_url=(environ.get("MULTIMAIL_API_URL") or "").rstrip("/"),
        allowed_hosts=frozenset(
            host.strip().lower() for host in hosts.split(",") if host.strip()
        ),
        agent_writes=environ.get("DEMO", "1") == "1",
        discord_app_id=environ.get("DISCORD_APP_ID", "").strip(),
    )


def _text(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        raise BadEnvironment(
            f"{name} is not set; the demo is started by ./run, which sets it."
        )
    return value


def _port(environ: Mapping[str, str], name: str) -> int:
    value = _text(environ, name)
    if not value.isascii() or not value.isdigit() or int(value) > 65535:
        raise BadEnvironment(
            f"{name} must be a port from 0 to 65535 (0: any free one), not {value!r}."
        )
    return int(value)
