"""Where things are in a clone, and how a small file is read or anything removed. Nothing
here looks at the environment.
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
    """The JSON object in a file; an empty one where there is none."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def remove(entry: Path) -> None:
    """Deletes a file, a link, or a folder with all that is in it."""
    # Here only: the compression modules it loads would stay in the launcher's memory.
    import shutil

    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()
