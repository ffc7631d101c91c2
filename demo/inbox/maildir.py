"""A Maildir: each message one file, complete or absent. Knows nothing of SMTP or pages."""

import itertools
import os
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Maildir:
    """A folder with tmp, new and cur, as any mail reader understands it."""

    path: Path
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def create(self) -> None:
        """Make the folders, readable by their owner alone."""
        for part in ("tmp", "new", "cur"):
            (self.path / part).mkdir(mode=0o700, parents=True, exist_ok=True)

    def add(self, content: bytes) -> str:
        """Store a message so that it survives a crash once this returns; return its
        key.
        """
        seconds, rest = divmod(time.time_ns(), 1_000_000_000)
        key = f"{seconds}.M{rest // 1000:06d}P{os.getpid()}Q{next(self._numbers):06d}.countersign"
        waiting = self.path / "tmp" / key
        with waiting.open("xb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        waiting.rename(self.path / "new" / key)
        return key

    def keys(self) -> list[str]:
        """Return the keys, newest first: a key begins with its time."""
        return sorted(self._files(), reverse=True)

    def read(self, key: str) -> bytes | None:
        """Return the message with this key, or nothing. A key that is not in the folder
        never becomes a path.
        """
        path = self._files().get(key)
        try:
            return path.read_bytes() if path else None
        except FileNotFoundError:  # deleted or moved by a mail reader in between
            return None

    def _files(self) -> dict[str, Path]:
        # A mail reader may move a message to cur and put its flags after a colon.
        return {
            entry.name.partition(":")[0]: Path(entry.path)
            for part in ("new", "cur")
            for entry in os.scandir(self.path / part)
            if not entry.name.startswith(".")
        }
