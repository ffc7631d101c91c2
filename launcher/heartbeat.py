"""Looks at the file in which the work loop of a process shows that it goes on:
common.heartbeat.
"""

from pathlib import Path

# After this many looks in a row without a sign, 20 s apart, a process counts as
# hanging. Looks are counted, not time: a launcher that was suspended itself looks again
# before it judges.
SILENT_LOOKS = 3


class Heartbeat:
    """The file of one process."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._last = 0

    def has_beaten(self) -> bool:
        """Whether there was a sign since the last look. Its time is only compared,
        because the clock may jump.
        """
        try:
            beat = self.file.stat().st_mtime_ns
        except OSError:
            beat = 0
        has_beaten = beat != self._last
        self._last = beat
        return has_beaten
