"""Paths in a clone, and two functions for files: one reads a JSON object, one deletes
anything. Nothing here reads environment variables.
"""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
# Django's command line.
MANAGE = (str(PYTHON), str(ROOT / "manage.py"))
SERVERS = ROOT / ".servers"


def read_object(file: Path) -> dict[str, Any]:
    """Returns the JSON object in a file; an empty one if there is no file or object."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def remove(entry: Path) -> None:
    """Deletes a file, a link, or a folder with everything in it."""
    # Imported only here: it loads compression modules, which would stay in memory.
    import shutil

    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()
