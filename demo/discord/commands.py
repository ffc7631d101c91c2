"""The slash commands that an application registered, in a file that keeps them."""

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.demo_discord import APP_ID
from demo.discord.limits import find_command_errors
from demo.discord.messages import Refused

MAX_VALUE = 6000


@dataclass(slots=True)
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
