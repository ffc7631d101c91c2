"""Small files of a run, which are read whole and replaced whole."""

import json
import os
from pathlib import Path
from typing import Any


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


def replace_private(file: Path, text: str) -> None:
    """Writes a file for its owner only, in one step: it may hold keys."""
    partial = file.with_name(f"{file.name}.part")
    partial.unlink(missing_ok=True)
    descriptor = os.open(
        partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
    )
    with open(descriptor, "w") as target:
        target.write(text)
        target.flush()
        os.fsync(descriptor)
    partial.replace(file)
