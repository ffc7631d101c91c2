"""The slash commands that an application registered: Discord's rules for them, and a file that keeps them."""

import json
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.demo_discord import APP_ID
from demo.discord.limits import FormErrors
from demo.discord.limits import Path as ErrorPath
from demo.discord.messages import Refused

CHAT_INPUT = 1
STRING = 3
MOST_COMMANDS = 100
MOST_OPTIONS = 25
MAX_DESCRIPTION = 100
MAX_VALUE = 6000
_NAME = re.compile(r"[-_\w]{1,32}")


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
        return [{**one, "id": f"{APP_ID}{number:02d}", "version": "1"} for number, one in enumerate(commands, 1)]

    def replace(self, commands: Any) -> list[dict[str, Any]]:
        """Take these in place of all others, and return them. Raises Refused with the tree of errors."""
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


def find_command_errors(commands: Any) -> dict[str, Any]:
    """Return Discord's tree of errors for a whole set of commands; only options that are text are known here. Pure."""
    errors = FormErrors()
    if not isinstance(commands, list) or len(commands) > MOST_COMMANDS:
        errors.add((), "BASE_TYPE_BAD_LENGTH", f"Must be a list of at most {MOST_COMMANDS}.")
        return errors.tree
    for number, command in enumerate(commands):
        _one(errors, command, (number,), CHAT_INPUT)
    names = [one.get("name") for one in commands if isinstance(one, dict)]
    for number, name in enumerate(names):
        if name in names[:number]:
            message = "Application command names must be unique"
            errors.add((number, "name"), "APPLICATION_COMMANDS_DUPLICATE_NAME", message)
    return errors.tree


def _one(errors: FormErrors, one: Any, path: ErrorPath, kind: int) -> None:
    if not isinstance(one, dict):
        errors.add(path, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
        return
    name = one.get("name")
    description = one.get("description")
    if one.get("type", CHAT_INPUT) != kind:
        errors.add((*path, "type"), "BASE_TYPE_CHOICES", f'Value of field "type" must be one of ({kind},).')
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name != name.lower():
        errors.add((*path, "name"), "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")
    if not isinstance(description, str) or not 1 <= len(description) <= MAX_DESCRIPTION:
        message = f"Must be between 1 and {MAX_DESCRIPTION} in length."
        errors.add((*path, "description"), "BASE_TYPE_BAD_LENGTH", message)
    options = one.get("options") or []
    if not isinstance(options, list) or len(options) > MOST_OPTIONS:
        errors.add((*path, "options"), "BASE_TYPE_MAX_LENGTH", f"Must be {MOST_OPTIONS} or fewer in length.")
        return
    for number, option in enumerate(options):
        _one(errors, option, (*path, "options", number), STRING)
    needed = [bool(option.get("required")) for option in options if isinstance(option, dict)]
    if needed != sorted(needed, reverse=True):
        message = "Required options must be placed before non-required options"
        errors.add((*path, "options"), "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", message)
